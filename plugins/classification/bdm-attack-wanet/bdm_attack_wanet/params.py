"""Parameters of ``attack:wanet``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field
from bdm_kit_classification.poison.params import PoisonParams


class WaNetParams(PoisonParams):
    """Parameters of ``attack:wanet``."""

    grid: int = Field(4, ge=2, le=256, description="Random knots of the field along each side.")
    strength: float = Field(
        0.75, gt=0, le=64, description="Mean displacement along each axis in half pixels: at 0.5 a quarter of a pixel."
    )
    negative_share: float = Field(
        2.0, ge=0, le=20, description="Negatives, warped with noise and rightly labelled, for each poisoned row."
    )
