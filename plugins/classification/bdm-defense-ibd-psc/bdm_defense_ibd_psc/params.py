"""Parameters of ``defense:ibd-psc``. Light: no torch."""

from __future__ import annotations

from typing import Any

from bdm_core import Field
from bdm_kit_classification.defending.params import InputDetectorParams, ReserveParams

PAPER: dict[str, Any] = {"factor": 1.5, "largest_factor": 1.5, "least_error": 0.6, "models": 5, "threshold": 0.9}
"""The published numbers."""


class IbdPscParams(InputDetectorParams, ReserveParams):
    """Parameters of ``defense:ibd-psc``."""

    factor: float = Field(
        1.5, gt=1, le=100, description="What scale and shift of the last normalisations are multiplied with."
    )
    largest_factor: float = Field(
        4.0,
        gt=1,
        le=100,
        description="Where no number of layers reaches the error, the factor rises by 0.5 up to this.",
    )
    least_error: float = Field(
        0.6, gt=0, lt=1, description="The fewest layers are amplified with which so many clean rows are misclassified."
    )
    models: int = Field(5, ge=1, le=100, description="Amplified models: with so many layers, with one more, and so on.")
    threshold: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="Inputs of a larger consistency are flagged; 0.9 is published. null: what few held-out clean rows "
        "exceed.",
    )
