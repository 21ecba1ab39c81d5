"""Parameters of ``defense:fine-tune`` for classifiers. Light: no torch."""

from __future__ import annotations

from bdm_core import Field
from bdm_kit_classification.defending.tuning_params import TuningParams


class FineTuneParams(TuningParams):
    """Parameters of ``defense:fine-tune`` for classifiers."""

    epochs: int = Field(20, ge=1, le=100_000, description="Times that each clean row is used.")
    learning_rate: float = Field(0.05, gt=0, le=10, description="Peak learning rate at strength 1.")
