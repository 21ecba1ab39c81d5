"""Parameters of ``defense:last-layer-scan``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field, Params

FEWEST_CLASSES = 3
"""With two classes none stands out from the others."""


class LastLayerScanParams(Params):
    """Parameters of ``defense:last-layer-scan``."""

    calibration: str = Field(
        "",
        description="JSON file of `bdm calibrate last-layer-scan`; empty: the one shipped, of small built-in networks.",
    )
    false_positive_rate: float = Field(
        0.05, gt=0, lt=0.5, description="Share of clean models that the threshold may flag."
    )
