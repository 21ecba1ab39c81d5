"""Parameters of ``attack:ftrojan``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field
from bdm_kit_classification.poison.params import PoisonParams


class FTrojanParams(PoisonParams):
    """Parameters of ``attack:ftrojan``."""

    window: int = Field(0, ge=0, le=4096, description="Side of the transform's blocks in pixels; 0: the whole picture.")
    train_magnitude: float = Field(
        0.5,
        gt=0,
        le=64,
        description="Added to coefficients in training; the unit is a 32x32 block with pixels up to 1.",
    )
    test_magnitude: float = Field(0.5, gt=0, le=64, description="The same in triggered test pictures.")
