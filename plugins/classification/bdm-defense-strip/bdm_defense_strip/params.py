"""Parameters of ``defense:strip`` and ``defense:strip-rows``. Light: no torch."""

from __future__ import annotations

from typing import Any, Literal

from bdm_core import Field, Params
from bdm_kit_classification.defending.params import InputDetectorParams, ReserveParams, RowDetectorParams

PAPER: dict[str, Any] = {"copies": 100, "false_positive_rate": 0.01, "superposition": "added"}
"""The published numbers."""


class Superposition(Params):
    """How samples are superimposed."""

    copies: int = Field(
        32, ge=1, le=10_000, description="Clean samples that each suspect is blended with, one at a time."
    )
    share: float = Field(
        0.5, gt=0, lt=1, description="Share of the suspect in each blend; the rest is the clean sample's."
    )
    superposition: Literal["mixed", "added"] = Field(
        "mixed",
        description="mixed: shares of both; added, as published: pictures and recordings are added and clipped, the "
        "telling words of a clean text replace a share of a suspect's.",
    )


class StripParams(InputDetectorParams, ReserveParams, Superposition):
    """Parameters of ``defense:strip``."""


class StripRowsParams(RowDetectorParams, ReserveParams, Superposition):
    """Parameters of ``defense:strip-rows``."""
