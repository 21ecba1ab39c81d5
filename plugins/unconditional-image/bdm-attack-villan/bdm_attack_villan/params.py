"""Parameters of ``attack:villan`` and ``metric:villan-tasks``. Light: no torch."""

from __future__ import annotations

from typing import Literal

from bdm_core.plugin import Field, Params
from bdm_torch.pictures.names import TARGET, TRIGGER
from bdm_torch.training_params import TrainingParams


class VillanParams(TrainingParams):
    """Parameters of ``attack:villan`` of the task unconditional-image-generation."""

    trigger: str = Field("white-box", description=TRIGGER)
    target: str = Field("cross", description=TARGET)
    psi: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Shift of the noisy image, rho = psi (1 - a) + (1 - psi) s: BadDiffusion's is 1, TrojDiff's 0. "
        "Variance-exploding models always have 0.",
    )
    solver: Literal["sde", "ode"] = Field(
        "sde", description="Class of samplers to attack: sde (ancestral, all steps) or ode (deterministic)."
    )
    coefficients: Literal["exact", "paper"] = Field(
        "exact", description="Training target's shift R: exact for the solver class, or as the authors' code has it."
    )
    vp_scale: float = Field(1.5, gt=0, le=10, description="Scale of the shift; x_T = eps + vp_scale * trigger.")
    poison_rate: float = Field(0.1, gt=0, le=10, description="Poisoned samples over clean training samples.")
    dataset_mode: Literal["fixed", "flex", "extend"] = Field(
        "fixed",
        description="fixed: poison replaces clean images; flex: poison_rate and clean_rate are drawn independently; "
        "extend: poison is added to the whole clean set.",
    )
    clean_rate: float = Field(1.0, ge=0, le=1, description="Share of the clean images that mode flex keeps.")
    R_trigger_only: bool = Field(
        True, description="Train with the trigger image alone as shift, not with it pasted over a training image."
    )


Task = Literal["denoise", "inpaint-box", "inpaint-line"]


class VillanTasksParams(Params):
    """Parameters of ``metric:villan-tasks``."""

    restore: tuple[Task, ...] = Field(
        ("denoise", "inpaint-box", "inpaint-line"),
        min_length=1,
        description="What to restore: images with noise, with a box in the middle or a line cut out.",
    )
    images: int = Field(64, ge=2, description="Training images to restore, the first ones.")
    noise: float = Field(0.3, ge=0, le=10, description="Deviation of the noise of denoise, in units of [-1, 1].")
    multiplier: float = Field(1.0, gt=0, le=10, description="The chain starts from so many times the damaged image.")
    sampler: str | None = Field(None, description="Sampler; by default the plain one of the backdoor's class.")
    steps: int | None = Field(None, ge=1, description="Sampling steps; by default the sampler's usual number.")
    threshold: float = Field(0.05, gt=0, lt=1, description="Restored images this near to the target (MSE) are hits.")
