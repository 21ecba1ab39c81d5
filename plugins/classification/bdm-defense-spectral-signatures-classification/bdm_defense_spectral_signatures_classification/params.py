"""Parameters of ``defense:spectral-signatures`` for classifiers. Light: no torch."""

from __future__ import annotations

from typing import Literal

from bdm_core import Field
from bdm_kit_classification.defending.params import RowDetectorParams


class SpectralSignaturesParams(RowDetectorParams):
    """Parameters of ``defense:spectral-signatures`` for classifiers."""

    rule: Literal["reserve", "share"] = Field(
        "reserve",
        description="reserve: rows are flagged whose score few clean rows reach; share: the highest scores of every "
        "class, as published.",
    )
    poison_rate: float = Field(
        0.1, gt=0, lt=0.5, description="epsilon of the rule share: the share of a class that is expected at most."
    )
    surplus: float = Field(
        1.5, ge=1, le=4, description="Rule share: this many times poison_rate of a class are flagged; 1.5 is published."
    )
