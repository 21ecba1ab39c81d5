"""Parameters of ``attack:baddiffusion``. Light: no torch."""

from __future__ import annotations

from bdm_core.plugin import Field
from bdm_torch.training_params import TrainingParams


class BadDiffusionParams(TrainingParams):
    """Parameters of ``attack:baddiffusion``."""

    trigger: str = Field("checker", description="Name of a built-in trigger, or the path of a .png or .jpg.")
    target: str = Field("cross", description="Name of a built-in target, or the path of a .png or .jpg.")
    trigger_scale: float = Field(
        1.5, gt=0, le=10, description="Scale of the trigger; x_T = eps + trigger_scale * trigger. The paper's is 1."
    )
    poison_rate: float = Field(0.1, gt=0, le=1, description="Share of the training images that is poisoned.")
