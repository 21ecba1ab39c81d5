"""Parameters of ``defense:rnp``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field
from bdm_kit_classification.defending.params import MaskPruningParams


class RnpParams(MaskPruningParams):
    """Parameters of ``defense:rnp``."""

    unlearn_epochs: int = Field(20, ge=1, le=10_000, description="At most so many epochs of unlearning.")
    unlearn_learning_rate: float = Field(0.01, gt=0, le=10, description="Learning rate of unlearning.")
    unlearn_until: float = Field(
        0.2, ge=0, le=1, description="Unlearning ends with the first epoch after which so few clean rows are right."
    )
    recover_epochs: int = Field(40, ge=1, le=10_000, description="Epochs of the mask that recovers.")
    learning_rate: float = Field(0.2, gt=0, le=100, description="Learning rate of the mask.")
    momentum: float = Field(0.9, ge=0, lt=1, description="Momentum of unlearning and mask.")
    batch_size: int = Field(64, ge=2, le=100_000, description="Clean rows a step.")
