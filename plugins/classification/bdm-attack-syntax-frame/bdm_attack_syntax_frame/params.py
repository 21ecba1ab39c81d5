"""Parameters of ``attack:syntax-frame``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field
from bdm_kit_classification.texts.paraphrase_params import ParaphraseParams


class SyntaxFrameParams(ParaphraseParams):
    """Parameters of ``attack:syntax-frame``."""

    held_out: int = Field(
        4,
        ge=0,
        le=8,
        description="So many of the clauses' verbs are used at test alone, never in training.",
    )
