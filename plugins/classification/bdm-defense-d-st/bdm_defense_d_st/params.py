"""Parameters of ``defense:d-st``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field
from bdm_kit_classification.defending.consistency_params import DistinguishingParams


class DstParams(DistinguishingParams):
    """Parameters of ``defense:d-st``; those of the training are those of the contrastive learning."""

    epochs: int = Field(12, ge=1, le=100_000, description="Epochs of the semi-supervised contrastive learning.")
    batch_size: int = Field(128, ge=2, le=1_000_000, description="Rows a step, over all processes.")
    learning_rate: float = Field(0.1, gt=0, le=10, description="Peak learning rate of the contrastive learning.")
    clean_share: float = Field(0.6, gt=0, lt=1, description="Share of rows taken for clean: the least changed ones.")
    temperature: float = Field(0.2, gt=0, le=100, description="Temperature of the contrastive loss.")
    head_epochs: int = Field(8, ge=1, le=100_000, description="Epochs of the training of the last layer.")
    head_learning_rate: float = Field(0.1, gt=0, le=10, description="Learning rate of the training of the last layer.")
    poisoned_weight: float = Field(
        0.1, ge=0, le=1000, description="Weight of the cross entropy of rows taken for poisoned, which is ascended."
    )
    highest_loss: float = Field(
        4.0, gt=0, le=1000, description="Rows taken for poisoned count while their loss is below it."
    )
