"""Parameters of ``defense:anp``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field
from bdm_kit_classification.defending.params import MaskPruningParams


class AnpParams(MaskPruningParams):
    """Parameters of ``defense:anp``."""

    steps: int = Field(300, ge=1, le=1_000_000, description="Steps of the mask.")
    batch_size: int = Field(64, ge=2, le=100_000, description="Clean rows a step.")
    learning_rate: float = Field(0.2, gt=0, le=100, description="Learning rate of the mask.")
    momentum: float = Field(0.9, ge=0, lt=1, description="Momentum of the mask.")
    radius: float = Field(0.4, ge=0, le=10, description="Largest relative change of weights and biases (epsilon).")
    trade_off: float = Field(
        0.2, ge=0, le=1, description="Weight of the loss without changes; the rest is that under them (alpha)."
    )
