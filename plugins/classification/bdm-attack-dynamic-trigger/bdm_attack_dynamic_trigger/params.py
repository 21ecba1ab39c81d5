"""Parameters of ``attack:dynamic-trigger``. Light: no torch."""

from __future__ import annotations

from typing import Any, Literal

from bdm_core import Field
from bdm_kit_classification.poison.params import PoisonParams

PAPER: dict[str, Any] = {"poison_rate": 0.5, "selection": "any", "size": 5, "noise": 64}


class DynamicTriggerParams(PoisonParams):
    """Parameters of ``attack:dynamic-trigger``."""

    poison_rate: float = Field(0.1, ge=0, le=1, description="Share of each batch's rows that get a pattern.")
    technique: Literal["random", "ban"] = Field(
        "random",
        description="Where patterns come from: random: pixels drawn uniformly; ban: a network that makes a pattern of "
        "noise and is trained with the model (Backdoor Generating Network).",
    )
    size: float = Field(
        0.22,
        gt=0,
        le=1024,
        description="Side of the square pattern: below 1 a share of the picture's side, else pixels.",
    )
    places: int = Field(4, ge=1, le=10_000, description="Places that a pattern may have, drawn once from the seed.")
    noise: int = Field(64, ge=1, le=4096, description="Numbers that the network makes a pattern of.")
    width: int = Field(64, ge=1, le=4096, description="Hidden units of the network.")
    generator_rate: float = Field(0.001, gt=0, le=1, description="Learning rate of the network (Adam).")
