"""Parameters of ``defense:beatrix``. Light: no torch."""

from __future__ import annotations

from typing import Literal

from bdm_core import Field
from bdm_kit_classification.defending.params import RowDetectorParams


class BeatrixParams(RowDetectorParams):
    """Parameters of ``defense:beatrix``."""

    rule: Literal["reserve", "class"] = Field(
        "reserve",
        description="reserve: rows are flagged that deviate more than few clean rows do; class: of these only those "
        "of classes whose deviating rows are another distribution than the others, as published.",
    )
    class_threshold: float = Field(
        7.389056, gt=0, description="Rule class: deviations from the median of the classes; e^2 is published."
    )
    orders: int = Field(2, ge=1, le=16, description="Gram matrices of the powers 1 to this one; published 8.")
    entries: Literal["row-sums", "triangle"] = Field(
        "row-sums",
        description="The numbers of a Gram matrix: sums of its rows; triangle: each entry on and above the diagonal, "
        "as published.",
    )
    width: float = Field(
        3.0, ge=0, description="The range of clean rows: median and so many median absolute deviations; published 10."
    )
    floor: float = Field(
        0.5,
        ge=0,
        description="Deviations are relative to the end of the range and this share of its mean over all entries.",
    )
    held_out: float = Field(
        0.5, gt=0, lt=1, description="Share of the clean rows that the ranges do not come from, for the threshold."
    )
