"""Parameters of ``defense:nab``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field
from bdm_kit_classification.defending.isolation_params import IsolationParams


class NabParams(IsolationParams):
    """Parameters of ``defense:nab``: of the isolation, of pseudo-labels and stamp, and of the training."""

    isolation_rate: float = Field(0.05, gt=0, lt=0.5, description="Share of the rows that is suspected.")
    contrastive_epochs: int = Field(
        15, ge=1, le=100_000, description="Epochs of the self-supervised learning that pseudo-labels come from."
    )
    contrastive_batch: int = Field(128, ge=2, le=1_000_000, description="Rows a step of the self-supervised learning.")
    contrastive_learning_rate: float = Field(0.1, gt=0, le=10, description="Its peak learning rate.")
    temperature: float = Field(0.2, gt=0, le=100, description="Temperature of its loss.")
    strength: float = Field(1.0, gt=0, le=1, description="Of its random changes.")
    stamp_size: int = Field(
        2, ge=1, le=2048, description="Side of the defender's stamp in pixels; it is at the top left."
    )
    stamp_value: float = Field(
        0.45, ge=0, le=1, description="Value of its pixels, in [0, 1]; one that pictures do not have at its place."
    )
