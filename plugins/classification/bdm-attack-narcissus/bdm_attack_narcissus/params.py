"""Parameters of ``attack:narcissus``. Light: no torch."""

from __future__ import annotations

from typing import Any

from bdm_core import Field
from bdm_kit_classification.poison.params import CleanLabelParams

PAPER: dict[str, Any] = {
    "poison_rate": 0.0005,
    "target_class_share": None,
    "bound": 16 / 255,
    "test_strength": 3.0,
    "noise_steps": 1000,
    "surrogate_epochs": 200,
    "warm_epochs": 5,
}


class NarcissusParams(CleanLabelParams):
    """Parameters of ``attack:narcissus``."""

    target_class_share: float | None = Field(
        0.9,
        ge=0,
        le=1,
        description="Share of the target class to poison; null: poison_rate counts, as a share of the training set.",
    )
    bound: float = Field(16 / 255, gt=0, le=1, description="Largest change of a pixel of training rows, in [0, 1].")
    test_strength: float = Field(3.0, gt=0, le=100, description="What the noise is multiplied by in test pictures.")
    noise_steps: int = Field(300, ge=1, le=1_000_000, description="Steps of the noise's optimisation.")
    noise_rate: float = Field(0.01, gt=0, le=1, description="Learning rate of the noise (Adam).")
    surrogate_epochs: int = Field(5, ge=1, le=100_000, description="Epochs of the attacker's own classifier.")
    auxiliary: str = Field(
        "",
        description="Other data: a built-in data set, or a folder with one sub-folder a class. The surrogate is "
        "trained on these and the target class alone, as in the paper; if empty, on all training rows.",
    )
    warm_epochs: int = Field(
        5, ge=0, le=100_000, description="With auxiliary: epochs on the target class alone, afterwards."
    )
    warm_rate: float = Field(0.01, gt=0, le=10, description="Learning rate of these.")
