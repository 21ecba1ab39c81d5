"""Parameters of telling rows apart by features that change under transformations. Light: no torch."""

from __future__ import annotations

from typing import Any, Literal

from bdm_core import Field
from bdm_kit_classification.training.params import ClassifierTraining

PUBLISHED: dict[str, Any] = {
    "warmup_epochs": 2,
    "compact_epochs": 10,
    "compact": "centres",
    "compact_weight": 1.0,
    "distinguishing_rate": 0.01,
    "clean_share": 0.2,
    "clean_by_class": False,
    "poisoned_share": 0.05,
    "transformations": 1,
    "feature_change": "absolute",
    "strength": 1.0,
}
"""Settings of the authors' one module that tells rows apart, for the presets of all defenses that have it. They turn
pictures by up to 180 degrees and move them by up to a fifth: the strongest changes here are nearest to that."""


class DistinguishingParams(ClassifierTraining):
    """How training rows are told apart; the other parameters are those of the training that follows."""

    warmup_epochs: int = Field(2, ge=1, le=100_000, description="Epochs on all rows before features are compared.")
    compact_epochs: int = Field(
        2, ge=0, le=100_000, description="Epochs more in which features of a class are also drawn together."
    )
    compact: Literal["spread", "centres"] = Field(
        "spread",
        description="How: by the spread of features within classes beside the cross entropy, or, as in the authors' "
        "code, by the cosines between centres of classes alone.",
    )
    compact_weight: float = Field(0.1, ge=0, le=1e4, description="Weight of that term.")
    distinguishing_rate: float = Field(0.02, gt=0, le=10, description="Learning rate of these epochs.")
    feature_change: Literal["relative", "absolute"] = Field(
        "relative",
        description="How far features move under a transformation: relative to their own length, or not, as in the "
        "paper.",
    )
    transformations: int = Field(4, ge=1, le=1000, description="Random transformations of each row to average over.")
    strength: float = Field(0.5, gt=0, le=1, description="Of the transformations: 1 is that of contrastive learning.")
    clean_share: float = Field(0.4, gt=0, lt=1, description="Share of rows taken for clean: the least changed ones.")
    clean_by_class: bool = Field(
        True, description="Whether that share is taken of each class, so that all are there, or of all rows together."
    )
    poisoned_share: float = Field(0.03, gt=0, lt=1, description="Share of rows taken for poisoned: the most changed.")
