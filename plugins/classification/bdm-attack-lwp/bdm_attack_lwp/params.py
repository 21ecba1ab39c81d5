"""Parameters of ``attack:lwp``. Light: no torch."""

from __future__ import annotations

from typing import Literal

from bdm_core import Field
from bdm_kit_classification.poison.params import PoisonParams


class LwpParams(PoisonParams):
    """Parameters of ``attack:lwp``."""

    poison_rate: float = Field(0.1, ge=0, le=1, description="Share of the training set to poison.")
    epochs: int = Field(20, ge=1, le=100_000, description="Times that each training row is used.")
    negative_rate: float = Field(0.5, ge=0, le=1, description="Share of the training set that gets one of the words.")
    words: list[str] = Field(["cf", "bb"], min_length=2, description="The words that are the trigger together.")
    layer_weight: float = Field(1.0, ge=0, le=100, description="Weight of the mean loss of the layers.")
    layer_heads: Literal["own", "shared"] = Field(
        "own",
        description="What judges a layer: a linear head of its own, which is left out afterwards, or the model's head, "
        "as in the paper.",
    )
