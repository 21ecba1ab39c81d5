"""Parameters of ``defense:agpd``. Light: no torch."""

from __future__ import annotations

from typing import Literal

from bdm_core import Field
from bdm_kit_classification.defending.params import RowDetectorParams


class AgpdParams(RowDetectorParams):
    """Parameters of ``defense:agpd``."""

    rule: Literal["reserve", "class"] = Field(
        "reserve",
        description="reserve: rows are flagged whose angle few clean rows reach; class: rows are peeled off the "
        "classes whose gradients are spread beyond class_threshold, as published.",
    )
    layer: str = Field(
        "widest",
        min_length=1,
        description="The layer that is looked at, by its name; widest: the one where a class's gradients are "
        "spread the most beside those of the other classes.",
    )
    class_threshold: float = Field(
        7.389056, gt=0, description="Rule class: deviations from the median of the classes; e^2 as released."
    )
    peeled: float = Field(
        0.05, gt=0, lt=1, description="Rule class: share of the range of the rates that is taken in a round; tau."
    )
    held_out: float = Field(
        0.5, gt=0, lt=1, description="Share of the clean rows that gives no direction, for the threshold."
    )
