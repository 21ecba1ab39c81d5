"""Parameters of ``attack:ctrl``. Light: no torch."""

from __future__ import annotations

from typing import Literal

from bdm_core import Field
from bdm_kit_classification.poison.params import CleanLabelParams


class CTRLParams(CleanLabelParams):
    """Parameters of ``attack:ctrl``."""

    target_class_share: float | None = Field(
        0.9,
        ge=0,
        le=1,
        description="Share of the target class to poison; null: poison_rate counts, as a share of the training set.",
    )
    window: int = Field(0, ge=0, le=4096, description="Side of the transform's blocks in pixels; 0: the whole picture.")
    coefficients: Literal["crossed", "diagonal"] = Field(
        "crossed",
        description="Which are raised, of 32x32: crossed: (15, 31); diagonal: (15, 15) and (31, 31), as published.",
    )
    train_magnitude: float = Field(
        0.8,
        gt=0,
        le=64,
        description="Added to coefficients in training; the unit is a 32x32 block with pixels up to 1.",
    )
    test_magnitude: float = Field(2.0, gt=0, le=64, description="The same in triggered test pictures.")
