"""Parameters of ``defense:fst``. Light: no torch."""

from __future__ import annotations

from typing import Literal

from bdm_core import Field
from bdm_kit_classification.defending.tuning_params import TuningParams


class FstParams(TuningParams):
    """Parameters of ``defense:fst``."""

    alpha: float = Field(0.2, ge=0, le=1000, description="Weight of the likeness of the new head to the given one.")
    likeness: Literal["cosine", "inner-product"] = Field(
        "cosine",
        description="Likeness of two heads: inner-product as in the paper, which grows with the square of their norm; "
        "cosine is that divided by both norms.",
    )
    epochs: int = Field(40, ge=1, le=100_000, description="Times that each clean row is used.")
    learning_rate: float = Field(0.05, gt=0, le=10, description="Peak learning rate at strength 1.")
    shift: int = Field(1, ge=0, le=64, description="Training pictures are shifted by up to so many pixels at random.")
