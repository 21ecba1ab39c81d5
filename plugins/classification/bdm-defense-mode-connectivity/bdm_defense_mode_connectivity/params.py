"""Parameters of ``defense:mode-connectivity``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field
from bdm_kit_classification.defending.params import OperatingPointParams, between
from bdm_kit_classification.training.params import ClassifierTraining


class ModeConnectivityParams(ClassifierTraining, OperatingPointParams):
    """Parameters of ``defense:mode-connectivity``; those of a training are those of the curve's."""

    points: list[float] = Field(
        [0.1, 0.2, 0.3, 0.4, 0.5],
        min_length=1,
        max_length=50,
        description="Points t of the curve that are tried, rising; 0 is the given model, 1 its fine-tuned copy. The "
        "last within accuracy_loss is taken; with one there is nothing to choose, and all clean rows are trained on.",
    )
    _points = between("points", 0, 1, ends=True)
    end_epochs: int = Field(20, ge=1, le=100_000, description="Epochs of the fine-tuned copy.")
    end_rate: float = Field(0.2, gt=0, le=10, description="Peak learning rate of the fine-tuned copy.")
    epochs: int = Field(40, ge=1, le=100_000, description="Epochs of the curve.")
    learning_rate: float = Field(0.2, gt=0, le=10, description="Peak learning rate of the curve's middle.")
    shift: int = Field(1, ge=0, le=64, description="Training pictures are shifted by up to so many pixels at random.")
