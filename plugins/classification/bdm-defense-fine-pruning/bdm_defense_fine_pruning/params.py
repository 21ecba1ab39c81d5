"""Parameters of ``defense:fine-pruning``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field
from bdm_kit_classification.defending.params import OperatingPointParams
from bdm_kit_classification.training.params import ClassifierTraining


class FinePruningParams(ClassifierTraining, OperatingPointParams):
    """Parameters of ``defense:fine-pruning``; those of the training are of the fine-tuning after pruning."""

    epochs: int = Field(20, ge=1, le=100_000, description="Times that each clean row is used in fine-tuning.")
    learning_rate: float = Field(0.02, gt=0, le=10, description="Peak learning rate of fine-tuning.")
    fine_tune: bool = Field(True, description="Fine-tune after pruning, as the method's name says.")
    points: int = Field(100, ge=1, le=10_000, description="So many candidates: each prunes one such share more.")
