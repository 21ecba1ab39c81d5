"""Parameters of defenses that tune a model on clean rows at several strengths. Light: no torch."""

from __future__ import annotations

from bdm_core import Field
from bdm_kit_classification.defending.params import OperatingPointParams, between
from bdm_kit_classification.training.params import ClassifierTraining


class TuningParams(ClassifierTraining, OperatingPointParams):
    """How a model is tuned: a training on clean rows for each strength, and the choice among the tuned models."""

    strengths: list[float] = Field(
        [0.5, 1.0, 2.0, 4.0],
        min_length=1,
        max_length=20,
        description="Multiples of learning_rate that are tried, rising, each from the given model; the strongest "
        "within accuracy_loss is taken. With one there is nothing to choose: it trains on all clean rows.",
    )
    _strengths = between("strengths", 0)
