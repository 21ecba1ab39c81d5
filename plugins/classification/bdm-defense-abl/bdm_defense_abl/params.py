"""Parameters of ``defense:abl``. Light: no torch."""

from __future__ import annotations

from typing import Literal

from bdm_core import Field
from bdm_kit_classification.defending.isolation_params import IsolationParams


class AblParams(IsolationParams):
    """Parameters of ``defense:abl``: of the isolation, of the training on the other rows, and of the unlearning."""

    epochs: int = Field(8, ge=1, le=100_000, description="Epochs on the rows that are not isolated.")
    unlearning: Literal["both", "isolated"] = Field(
        "both",
        description="both: down the loss of the other rows and up that of as many isolated ones, as in the paper's "
        "equation; isolated: up that of isolated rows alone, as in the authors' code.",
    )
    unlearning_epochs: int = Field(
        2,
        ge=1,
        le=100_000,
        description="Epochs of the unlearning: passes over the other rows (both), or over isolated ones (isolated).",
    )
    unlearning_learning_rate: float = Field(0.01, gt=0, le=10, description="Learning rate of the unlearning.")
    highest_loss: float = Field(
        4.0, gt=0, le=1000, description="Isolated rows whose loss is above it are not unlearnt any more."
    )
