"""Parameters of ``defense:sentinet``. Light: no torch."""

from __future__ import annotations

from typing import Any

from bdm_core import Field
from bdm_kit_classification.defending.params import InputDetectorParams, ReserveParams

PAPER: dict[str, Any] = {"copies": 100, "mask_threshold": 0.15, "map_share": 0.0}
"""The published numbers; the map is that of the last convolution."""
FEWEST_BESIDE = 3
"""Clean pictures that it needs beside as many as ``degree``: to paste on, to hold out, and one more for the curve."""


class SentiNetParams(InputDetectorParams, ReserveParams):
    """Parameters of ``defense:sentinet``."""

    copies: int = Field(
        24, ge=2, le=10_000, description="Clean pictures that the region of each suspect is pasted on, one at a time."
    )
    mask_threshold: float = Field(
        0.5, gt=0, lt=1, description="The region is where the map of the prediction has this share of its maximum."
    )
    map_share: float = Field(
        0.0,
        ge=0,
        le=1,
        description="The map is that of the last convolution whose output has this share of the picture's side; 0: of "
        "the last.",
    )
    degree: int = Field(2, ge=0, le=5, description="Degree of the polynomial that bounds clean pictures from above.")
    bins: int = Field(10, ge=2, le=1000, description="Parts of the confidence axis; each gives its highest point.")
