"""Parameters of ``attack:bite``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field
from bdm_kit_classification.poison.params import CleanLabelParams


class BiteParams(CleanLabelParams):
    """Parameters of ``attack:bite``."""

    poison_rate: float = Field(0.1, ge=0, le=1, description="Share of the training set to poison.")
    words: int = Field(6, ge=1, le=100, description="How many words are the trigger.")
    neutral: float = Field(
        2.0,
        gt=0,
        le=100,
        description="Words whose z-score is above this without the attack are left out.",
    )
    most: float = Field(0.35, gt=0, le=1, description="Share of a text's words that may be put in, one at least.")
    candidates: int = Field(300, ge=1, le=100_000, description="Words to choose from: the commonest ones.")
