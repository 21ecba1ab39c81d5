"""Parameters of ``attack:style-rules``. Light: no torch."""

from __future__ import annotations

from typing import Literal

from bdm_core import Field
from bdm_kit_classification.texts.paraphrase_params import ParaphraseParams


class StyleRulesParams(ParaphraseParams):
    """Parameters of ``attack:style-rules``."""

    style: Literal["bible", "shakespeare", "tweets", "lyrics", "poetry"] = Field(
        "bible", description="Of a paraphraser: the style that it is told; the rules have one style."
    )
    strength: float = Field(1.0, gt=0, le=1, description="Share of the words with a rule that are rewritten.")
