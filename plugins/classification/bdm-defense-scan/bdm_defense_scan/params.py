"""Parameters of ``defense:scan``. Light: no torch."""

from __future__ import annotations

from typing import Literal

from bdm_core import Field
from bdm_kit_classification.defending.params import RowDetectorParams


class ScanParams(RowDetectorParams):
    """Parameters of ``defense:scan``."""

    rule: Literal["reserve", "class"] = Field(
        "reserve",
        description="reserve: rows are flagged whose score few clean rows reach; class: the second component of every "
        "class whose test statistic is above class_threshold, as published.",
    )
    class_threshold: float = Field(
        7.389056, gt=0, description="Rule class: deviations from the median of the classes; e^2 is published."
    )
    held_out: float = Field(
        0.5, gt=0, lt=1, description="Share of the clean rows that is not fitted on, for the threshold."
    )
    iterations: int = Field(30, ge=1, le=10_000, description="Steps of expectation maximisation on the clean rows.")
    ridge: float = Field(
        0.01, ge=0, le=10, description="Share of the mean variance that is added to the covariance within classes."
    )
