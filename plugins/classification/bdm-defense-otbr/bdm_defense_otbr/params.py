"""Parameters of ``defense:otbr``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field
from bdm_kit_classification.defending.params import OperatingPointParams


class OtbrParams(OperatingPointParams):
    """Parameters of ``defense:otbr``."""

    unlearning_steps: int = Field(20, ge=1, le=100_000, description="Steps of ascent on noise with random labels.")
    unlearning_rate: float = Field(0.01, gt=0, le=10, description="Learning rate of the ascent.")
    batch_size: int = Field(64, ge=2, le=1_000_000, description="Pictures of noise a step.")
    shares: list[float] = Field(
        [0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.25, 0.3],
        min_length=1,
        max_length=50,
        description="Shares of the convolutions' units that are pruned, rising; the last within accuracy_loss is "
        "taken. With one there is nothing to choose.",
    )
    balance: float = Field(
        0.5, ge=0, le=1, description="Weight of the aligned pruned model in the fusion; the rest is the given one's."
    )
