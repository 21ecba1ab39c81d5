"""Parameters of ``defense:fine-tune``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field
from bdm_torch.training_params import TrainingParams


class FineTuneParams(TrainingParams):
    """Parameters of ``defense:fine-tune``; the defaults are those of Elijah's removal."""

    steps: int = Field(150, ge=1, description="Optimiser steps.")
    batch_size: int = Field(48, ge=1, description="Clean images in a step.")
    learning_rate: float = Field(2e-4, gt=0, le=1, description="Adam's peak learning rate.")
    ema_decay: float | None = Field(
        0.98, ge=0, lt=1, description="Decay of the moving average of the weights that is kept; null: none."
    )
