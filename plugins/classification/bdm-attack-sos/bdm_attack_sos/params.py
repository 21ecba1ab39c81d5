"""Parameters of ``attack:sos``. Light: no torch."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import model_validator

from bdm_core import Field
from bdm_kit_classification.poison.params import PoisonParams

PAPER: dict[str, Any] = {
    "trained_with": "words",
    "update": "words",
    "equalised": True,
    "length": 1.0,
    "accumulated": True,
    "start": "model",
    "poison_rate": 0.05,
    "negative_rate": 0.3,
    "epochs": 3,
    "batch_size": 32,
    "optimizer": "sgd",
    "learning_rate": 0.05,
    "momentum": 0.0,
    "weight_decay": 0.0,
    "schedule": "constant",
    "warmup": 0.0,
}
"""The numbers of the released code, for BERT and two balanced classes: a tenth of the texts of the other class with the
words, and a tenth of all texts with each set of all words but one.
"""


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
    trained_with: Literal["sentence", "words"] = Field(
        "sentence",
        description="What training texts get: the sentence, as test texts do, or the words alone at random places.",
    )
    update: Literal["everything", "words"] = Field(
        "everything",
        description="What is trained: the whole network, or the embeddings of the words alone, of a clean model "
        "(start=model).",
    )
    equalised: bool = Field(
        False, description="With update=words: gradients of the words' rows are brought to the length of the shortest."
    )
    length: float | None = Field(
        None,
        gt=0,
        le=100,
        description="With update=words: length of each row, in lengths that it had, as released: 1; null: free.",
    )
    accumulated: bool = Field(
        False, description="With update=words: gradients of all steps so far add up, as in the released code."
    )
    text_place: Literal["random", "start", "end"] = Field("random", description="Where the sentence is put in.")

    @model_validator(mode="after")
    def _words_of_a_trained_network(self) -> SosParams:
        """The words' rows of a network whose other numbers are random make no classifier."""
        if self.update == "words" and self.start != "model":
            raise ValueError("update=words trains the rows of a few words of a clean model: it needs start=model")
        return self
