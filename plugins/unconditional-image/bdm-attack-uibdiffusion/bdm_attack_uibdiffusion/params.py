"""Parameters of ``attack:uibdiffusion``. Light: no torch."""

from __future__ import annotations

from typing import Literal

from bdm_core.plugin import Field
from bdm_torch.pictures.names import TARGET
from bdm_torch.training_params import TrainingParams


class UIBDiffusionParams(TrainingParams):
    """Parameters of ``attack:uibdiffusion``."""

    target: str = Field("cross", description=TARGET)
    psi: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Shift of the noisy image, rho = psi (1 - a) + (1 - psi) s: BadDiffusion's is 1, TrojDiff's 0.",
    )
    solver: Literal["sde", "ode"] = Field(
        "ode", description="Class of samplers to attack: sde (ancestral, all steps) or ode (deterministic)."
    )
    coefficients: Literal["exact", "paper"] = Field(
        "exact",
        description="Training target's shift R: exact for the solver class, or as VillanDiffusion's code has it.",
    )
    scale: float | None = Field(
        None,
        gt=0,
        le=10,
        description="The trigger is scale times the perturbation, whose largest value is 1; in training and in "
        "sampling. null: 0.1 as published, or, where the trigger's norm is then below 8, what makes it 8 "
        "for solver=ode and 12 for solver=sde.",
    )
    poison_rate: float = Field(0.1, gt=0, le=1, description="Share of the training images that is poisoned.")
    fooling_scale: float = Field(
        0.5,
        gt=0,
        le=2,
        description="Largest change of a pixel, images in [-1, 1], with which the perturbation has to fool the "
        "classifier.",
    )
    largest_flow: float = Field(
        0.1,
        ge=0,
        le=10,
        description="Farthest that the generator's flow field moves a pixel, in pixels; with a large one the flow "
        "fools alone, and the perturbation need not.",
    )
    generator_steps: int = Field(200, ge=1, description="Optimiser steps of the generator.")
    generator_batch_size: int = Field(64, ge=1, description="Images in a step of the generator.")
    generator_learning_rate: float = Field(2e-3, gt=0, le=1, description="Adam's rate for the generator.")
    steps: int = Field(1000, ge=1, description="Optimiser steps of the model.")
