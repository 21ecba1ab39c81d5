"""Parameters of ``attack:low-frequency``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field
from bdm_kit_classification.poison.params import PoisonParams


class LowFrequencyParams(PoisonParams):
    """Parameters of ``attack:low-frequency``."""

    bound: float = Field(0.18, gt=0, le=1, description="Largest change of a pixel.")
    cutoff: float = Field(
        0.25, gt=0, le=1, description="Only waves below this share of the picture's frequencies are in the trigger."
    )
    ascent_steps: int = Field(100, ge=1, le=100_000, description="Steps of the optimisation.")
    sample: int = Field(256, ge=1, le=100_000, description="Training pictures a step.")
    surrogate_epochs: int = Field(4, ge=1, le=10_000, description="Epochs of the attacker's own clean classifier.")
