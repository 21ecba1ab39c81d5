"""Parameters of ``defense:rap``. Light: no torch."""

from __future__ import annotations

from typing import Any

from bdm_core import Field
from bdm_kit_classification.training.params import ClassifierTraining

PAPER: dict[str, Any] = {
    "least": 0.1,
    "largest": 0.3,
    "length": 1.0,
    "accumulated": True,
    "epochs": 5,
    "batch_size": 32,
    "learning_rate": 0.01,
    "optimizer": "sgd",
    "momentum": 0.0,
    "weight_decay": 0.0,
    "schedule": "constant",
    "warmup": 0.0,
    "false_positives": 0.01,
}
"""The numbers of the released code, for BERT; of its false positive rates (.5, 1, 3, 5 %) the second."""


class RapParams(ClassifierTraining):
    """Parameters of ``defense:rap``; the training is that of one row of the embedding for each class."""

    least: float = Field(0.1, ge=0, le=1, description="The word is to take at least so much of a class's probability.")
    largest: float = Field(0.3, ge=0, le=1, description="And at most so much.")
    length: float | None = Field(
        None, gt=0, le=100, description="Length of the row, in lengths that it had, the released code: 1; null: free."
    )
    accumulated: bool = Field(False, description="Gradients of all steps so far add up, as in the released code.")
    false_positives: float = Field(0.05, gt=0, lt=1, description="Share of clean texts that may be flagged.")
    held_out: float = Field(0.5, gt=0, lt=1, description="Share of the clean texts that set the threshold.")
    epochs: int = Field(50, ge=1, le=100_000, description="Times that each clean row is used.")
    batch_size: int = Field(16, ge=2, le=1_000_000, description="Rows a step.")
    learning_rate: float = Field(1.0, gt=0, le=10, description="Peak learning rate.")
