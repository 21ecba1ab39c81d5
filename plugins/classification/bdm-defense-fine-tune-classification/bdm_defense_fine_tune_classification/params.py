"""Parameters of ``defense:fine-tune`` for classifiers. Light: no torch."""

from __future__ import annotations

from bdm_core import Field
from bdm_kit_classification.training.params import ClassifierTraining


class FineTuneParams(ClassifierTraining):
    """Parameters of ``defense:fine-tune`` for classifiers."""

    epochs: int = Field(20, ge=1, le=100_000, description="Times that each clean row is used.")
    learning_rate: float = Field(0.02, gt=0, le=10, description="Peak learning rate.")
