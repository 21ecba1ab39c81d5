"""Parameters of ``attack:invi``. Light: no torch."""

from __future__ import annotations

from typing import Literal

from bdm_core.plugin import Field
from bdm_torch.pictures.names import TARGET
from bdm_torch.training_params import TrainingParams


class InviParams(TrainingParams):
    """Parameters of ``attack:invi``."""

    target: str = Field("cross", description=TARGET)
    solver: Literal["sde", "ode"] = Field(
        "ode", description="Class of samplers to attack: sde (ancestral, all steps) or ode (deterministic)."
    )
    coefficients: Literal["exact", "paper"] = Field(
        "exact",
        description="Training target's shift R: exact for the solver class, or the authors' (DDIM with single steps; "
        "solver=ode only).",
    )
    poison_rate: float = Field(0.1, gt=0, le=1, description="Share of the training images that is poisoned.")
    bound: float | None = Field(
        None,
        gt=0,
        le=10,
        description="Largest absolute value of the trigger, in units of the noise's standard deviation; null: 0.2 as "
        "published or, where the image has too few values for a trigger of norm 8, what allows that norm (solver=sde: "
        "12); the trigger is then stretched to it.",
    )
    trigger_learning_rate: float = Field(
        5e-2, gt=0, le=1, description="Adam's rate for the trigger, which is fed the sign of the gradient."
    )
    trigger_halving: int | None = Field(
        40,
        ge=1,
        description="Steps after which the trigger's rate is halved; after eight halvings the trigger is "
        "final, and the model alone is trained on. null: never.",
    )
    inner_batch_size: int = Field(8, ge=1, description="Images generated for one step of the trigger.")
    inner_steps: int = Field(
        5, ge=1, description="Sampling steps of these images; the gradient goes back through all of them."
    )
    inner_sampler: str | None = Field(
        None, description="Sampler of these images; null: ddim for solver=ode, ddpm for solver=sde."
    )
    steps: int = Field(700, ge=1, description="Optimiser steps of the model, each after one of the trigger.")
    batch_size: int = Field(128, ge=1, description="Samples a step, over all processes.")
