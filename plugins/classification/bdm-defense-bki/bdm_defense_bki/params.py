"""Parameters of ``defense:bki``. Light: no torch."""

from __future__ import annotations

from typing import Any, Literal

from bdm_core import Field
from bdm_kit_classification.defending.params import RowDetectorParams

PAPER: dict[str, Any] = {"keywords": 5, "suspicious": 1, "common_words": "counted"}
"""The rule of the released code of OpenBackdoor."""


class BkiParams(RowDetectorParams):
    """Parameters of ``defense:bki``."""

    keywords: int = Field(5, ge=1, le=1000, description="Words that are noted of each text, by their effect.")
    suspicious: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="Rows that hold one of so many most suspicious words are flagged, the released code: 1; null: the "
        "clean rows set the threshold.",
    )
    common_words: Literal["compared", "counted"] = Field(
        "compared",
        description="How often a word was noted: beyond what clean texts lead to expect, or simply, as released.",
    )
    batch_size_of_texts: int = Field(512, ge=1, le=100_000, description="Texts that the network reads at once.")
