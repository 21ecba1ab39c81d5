"""Parameters of ``defense:ep``. Light: no torch."""

from __future__ import annotations

from typing import Literal

from bdm_core import Field
from bdm_kit_classification.defending.params import PruningParams


class EpParams(PruningParams):
    """Parameters of ``defense:ep``."""

    pooling: Literal["max", "mean", "both"] = Field(
        "max",
        description="What of a map counts: its maximum, as a patch moves it, its mean, as a trigger all over the "
        "picture moves it, or the more suspicious of both.",
    )
    rows: int = Field(2000, ge=50, le=1_000_000, description="At most so many training rows are looked at.")
