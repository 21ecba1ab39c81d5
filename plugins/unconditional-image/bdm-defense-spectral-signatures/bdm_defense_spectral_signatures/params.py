"""Parameters of ``defense:spectral-signatures``. Light: no torch."""

from __future__ import annotations

from typing import Literal

from bdm_core import Field
from bdm_torch.training_params import TrainingParams


class SpectralSignaturesParams(TrainingParams):
    """Parameters of ``defense:spectral-signatures``.

    Those of the training (steps, learning_rate, ...) are those of the training without the flagged rows.
    """

    poison_rate: float = Field(
        0.1, gt=0, lt=0.5, description="epsilon, the share of poisoned rows that is expected at most; an assumption."
    )
    surplus: float = Field(
        1.5, ge=1, le=4, description="This many times poison_rate of the rows are flagged; 1.5 is published."
    )
    groups: Literal["auto", "one"] = Field(
        "auto",
        description="auto: rows of one label are judged among themselves, where rows have labels; one: all rows.",
    )
    features: Literal["auto", "pixels"] = Field(
        "auto",
        description="auto: the kit's feature network where there is one for images of this shape, else pixels.",
    )
    steps: int = Field(300, ge=1, description="Optimiser steps of the training without the flagged rows.")
    batch_size: int = Field(48, ge=1, description="Images in a step.")
    learning_rate: float = Field(5e-4, gt=0, le=1, description="Adam's peak learning rate.")
    ema_decay: float | None = Field(
        0.98, ge=0, lt=1, description="Decay of the moving average of the weights that is kept; null: none."
    )
