"""Parameters of the isolation of rows that are learnt too fast. Light: no torch."""

from __future__ import annotations

from typing import Literal

from bdm_core import Field
from bdm_kit_classification.training.params import ClassifierTraining


class IsolationParams(ClassifierTraining):
    """How suspicious rows are isolated by their loss; the other parameters are those of the training that follows."""

    isolation: Literal["ascent", "flooding"] = Field(
        "ascent", description="What holds the loss up while rows are isolated: local gradient ascent, or flooding."
    )
    isolation_of: Literal["rows", "batches"] = Field(
        "batches", description="Whether the loss of each row, or the mean of each batch, is held up."
    )
    isolation_loss: float = Field(0.5, gt=0, le=100, description="The loss below which it is held up.")
    isolation_epochs: int = Field(3, ge=1, le=100_000, description="Epochs before rows are isolated.")
    isolation_learning_rate: float = Field(0.05, gt=0, le=10, description="Learning rate meanwhile.")
    looks: int = Field(
        6,
        ge=0,
        le=1000,
        description="Times an epoch that the loss of all rows is looked at meanwhile; 0: once, at the end, as in the "
        "paper.",
    )
    isolation_rate: float = Field(0.01, gt=0, lt=0.5, description="Share of the rows that is isolated.")
