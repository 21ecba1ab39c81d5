"""Parameters of ``defense:otbr``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field
from bdm_kit_classification.defending.params import OperatingPointParams, between


class OtbrParams(OperatingPointParams):
    """Parameters of ``defense:otbr``."""

    unlearning_steps: int = Field(200, ge=1, le=100_000, description="Steps of ascent on noise with random labels.")
    unlearning_rate: float = Field(0.001, gt=0, le=10, description="Learning rate of the ascent.")
    batch_size: int = Field(64, ge=2, le=1_000_000, description="Pictures of noise a step.")
    shares: list[float] = Field(
        [0.02, 0.04, 0.06, 0.08, 0.1, 0.12, 0.14, 0.16, 0.18, 0.2, 0.25, 0.3],
        min_length=1,
        max_length=50,
        description="Shares of the convolutions' units that are pruned, rising; the last within accuracy_loss is "
        "taken. With one there is nothing to choose.",
    )
    _shares = between("shares", 0, 1)
    refresh: bool = Field(
        True, description="Make the statistics of batch normalisation anew from clean rows after the fusion."
    )
    balance: float = Field(
        0.95, ge=0, le=1, description="Weight of the aligned pruned model in the fusion; the rest is the given one's."
    )
