"""Parameters of ``defense:agpd``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field
from bdm_kit_classification.defending.params import RowDetectorParams


class AgpdParams(RowDetectorParams):
    """Parameters of ``defense:agpd``."""

    layer: str = Field(
        "widest",
        min_length=1,
        description="The layer that is looked at, by its name; widest: the one where a class's angles are "
        "spread the most beside those of the other classes.",
    )
    held_out: float = Field(
        0.5, gt=0, lt=1, description="Share of the clean rows that gives no direction, for the threshold."
    )
