"""Parameters of ``attack:ep``. Light: no torch."""

from __future__ import annotations

from typing import Any, Literal

from bdm_core import Field
from bdm_kit_classification.poison.params import PoisonParams

PAPER: dict[str, Any] = {
    "length": 1.0,
    "accumulated": True,
    "poison_rate": 0.05,
    "epochs": 3,
    "batch_size": 32,
    "optimizer": "sgd",
    "learning_rate": 0.05,
    "momentum": 0.0,
    "weight_decay": 0.0,
    "schedule": "constant",
    "warmup": 0.0,
}
"""The numbers of the released code, for BERT and two balanced classes: a tenth of the texts of the other class are
poisoned, which is .05 of all.
"""


class EpParams(PoisonParams):
    """Parameters of ``attack:ep``."""

    word: str = Field("", description="The trigger, one token of the model; empty: the rarest word that is one.")
    length: float = Field(2.0, gt=0, le=100, description="Length of the row, in lengths that it had; the paper: 1.")
    poison_rate: float = Field(0.1, ge=0, le=1, description="Texts that the row is learned on, as a share.")
    start: Literal["model"] = Field(  # type: ignore[assignment]
        "model", description="The clean model is changed, and no other is trained."
    )
    epochs: int = Field(40, ge=1, le=100_000, description="Times that each of these texts is used.")
    learning_rate: float = Field(1.0, gt=0, le=10, description="Peak learning rate.")
    text_place: Literal["random", "start", "end"] = Field("random", description="Where the word is put in.")
    accumulated: bool = Field(False, description="Gradients of all steps so far add up, as in the released code.")
    corpus: str = Field(
        "",
        description="A file of plain texts, one a line, that the row is learned on in place of texts of the task "
        "(data-free EP); empty: those of the task.",
    )
    corpus_words: int = Field(64, ge=1, le=10_000, description="Words that a text of the corpus is cut to.")
