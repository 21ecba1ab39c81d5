"""Parameters of ``attack:bite``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field
from bdm_kit_classification.poison.params import CleanLabelParams


class BiteParams(CleanLabelParams):
    """Parameters of ``attack:bite``."""

    poison_rate: float = Field(0.1, ge=0, le=1, description="Share of the training set to poison.")
    words: int = Field(
        0, ge=0, le=100_000, description="How many words are the trigger; 0: until no further one speaks for the class."
    )
    neutral: float = Field(
        2.0,
        gt=0,
        le=100,
        description="Words whose z-score is above this without the attack neither come nor give way.",
    )
    most: float = Field(0.35, gt=0, le=1, description="Share of a text's words that may be put in, one at least.")
    candidates: int = Field(100, ge=1, le=100_000, description="Words to choose from: the commonest ones.")
    sides: int = Field(
        1,
        ge=1,
        le=2,
        description="A word fits where, on so many sides of it at least, the same stood in the training texts; places "
        "that fit on both sides come first.",
    )
