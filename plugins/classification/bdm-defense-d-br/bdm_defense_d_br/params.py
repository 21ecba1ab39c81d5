"""Parameters of ``defense:d-br``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field
from bdm_kit_classification.defending.consistency_params import DistinguishingParams


class DbrParams(DistinguishingParams):
    """Parameters of ``defense:d-br``; those of the training are those of the unlearning."""

    epochs: int = Field(6, ge=1, le=100_000, description="Times that each row taken for clean is relearnt.")
    learning_rate: float = Field(0.01, gt=0, le=10, description="Peak learning rate.")
    max_gradient_norm: float | None = Field(
        1.0,
        gt=0,
        description="Gradients of unlearning and relearning are clipped to this norm, or momentum carries the ascent "
        "past its bound and the network to chance; null: never, as published.",
    )
    highest_loss: float = Field(
        4.0, gt=0, le=1000, description="Rows taken for poisoned are unlearnt while their loss is below it."
    )
