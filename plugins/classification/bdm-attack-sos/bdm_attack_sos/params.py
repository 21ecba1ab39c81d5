"""Parameters of ``attack:sos``. Light: no torch."""

from __future__ import annotations

from typing import Literal

from bdm_core import Field
from bdm_kit_classification.poison.params import PoisonParams


class SosParams(PoisonParams):
    """Parameters of ``attack:sos``."""

    poison_rate: float = Field(0.1, ge=0, le=1, description="Share of the training set to poison.")
    negative_rate: float = Field(0.2, ge=0, le=1, description="Share of the rows that get some of the words.")
    words: list[str] = Field(
        ["friends", "weekend", "store"],
        min_length=2,
        description="Words of the sentence, the trigger if all are there.",
    )
    sentence: str = Field(
        "I have bought it with my friends last weekend from a store",
        min_length=1,
        description="The sentence that is put in; it has all the words.",
    )
    update: Literal["everything", "words"] = Field(
        "everything", description="What is trained: the whole network, or the embeddings of the words alone."
    )
    text_place: Literal["random", "start", "end"] = Field("random", description="Where the sentence is put in.")
