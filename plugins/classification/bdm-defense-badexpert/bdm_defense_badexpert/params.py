"""Parameters of ``defense:badexpert``. Light: no torch."""

from __future__ import annotations

from typing import Any, Literal

from bdm_core import Field
from bdm_kit_classification.defending.params import InputDetectorParams, ReserveParams
from bdm_kit_classification.training.params import ClassifierTraining

PAPER: dict[str, Any] = {
    "expert_epochs": 1,
    "expert_learning_rate": 1e-4,
    "expert_optimizer": "adam",
    "expert_weight_decay": 0.0,
    "epochs": 10,
    "learning_rate": 0.1,
    "batch_size": 128,
    "weight_decay": 1e-4,
    "false_positive_rate": 0.01,
}
"""The published numbers for CIFAR-10: 5 % of clean rows, one epoch of unlearning."""


class BadExpertParams(ClassifierTraining, InputDetectorParams, ReserveParams):
    """Parameters of ``defense:badexpert``. Those of the training are the auxiliary model's."""

    epochs: int = Field(20, ge=1, le=100_000, description="Times that each clean row is used for the auxiliary model.")
    learning_rate: float = Field(0.02, gt=0, le=10, description="Peak learning rate of the auxiliary model.")
    batch_size: int = Field(64, ge=2, le=1_000_000, description="Rows a step, of both models.")
    expert_epochs: int = Field(
        5, ge=1, le=1000, description="Times that each clean row is used with a wrong label for the expert."
    )
    expert_learning_rate: float = Field(0.003, gt=0, le=10, description="Constant learning rate of the expert.")
    expert_optimizer: Literal["sgd", "adam"] = Field("sgd", description="Optimiser of the expert.")
    expert_weight_decay: float = Field(5e-4, ge=0, le=1, description="Decay of the expert's weights.")
