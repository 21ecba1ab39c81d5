"""Parameters of ``defense:gradient-norm``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field
from bdm_kit_classification.defending.tuning_params import TuningParams


class GradientNormParams(TuningParams):
    """Parameters of ``defense:gradient-norm``."""

    penalty: float = Field(
        0.14, ge=0, le=1000, description="Weight of the norm of the gradient in the loss; 0 is plain fine-tuning."
    )
    radius: float = Field(
        0.2,
        gt=0,
        le=10,
        description="How far along the gradient the second gradient is taken, which approximates the penalty's.",
    )
    epochs: int = Field(20, ge=1, le=100_000, description="Times that each clean row is used.")
    learning_rate: float = Field(0.05, gt=0, le=10, description="Peak learning rate at strength 1.")
