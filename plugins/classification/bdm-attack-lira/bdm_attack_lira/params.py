"""Parameters of ``attack:lira``. Light: no torch."""

from __future__ import annotations

from typing import Any

from bdm_core import Field
from bdm_kit_classification.poison.params import PoisonParams

PAPER: dict[str, Any] = {
    "bound": 0.01,
    "joint_epochs": 50,
    "epochs": 100,
    "batch_size": 128,
    "learning_rate": 0.01,
    "generator_rate": 1e-4,
}


class LiraParams(PoisonParams):
    """Parameters of ``attack:lira``."""

    poison_rate: float = Field(
        0.05,
        ge=0,
        le=1,
        description="Share of the rows that get the trigger in the view; in training every row that may be poisoned "
        "is seen with and without it, weighed by clean_weight.",
    )
    bound: float = Field(0.1, gt=0, le=1, description="Largest change of a pixel, in [0, 1].")
    clean_weight: float = Field(0.5, gt=0, lt=1, description="Weight of clean pictures; triggered ones get the rest.")
    joint_epochs: int = Field(5, ge=1, le=100_000, description="Stage 1: epochs of generator and classifier together.")
    generator_rate: float = Field(1e-3, gt=0, le=1, description="Learning rate of the generator.")
    width: int = Field(16, ge=1, le=1024, description="Channels of the generator at full size.")
