"""Parameters of ``defense:nad``. Light: no torch."""

from __future__ import annotations

from typing import Literal

from bdm_core import Field
from bdm_kit_classification.defending.tuning_params import TuningParams


class NadParams(TuningParams):
    """Parameters of ``defense:nad``; those of a training are those of the student."""

    teacher: Literal["ft-sam", "fine-tune"] = Field(
        "ft-sam", description="How the teacher is tuned: by sharpness-aware steps, or plainly as in the paper."
    )
    teacher_epochs: int = Field(30, ge=1, le=100_000, description="Times that the teacher uses each clean row.")
    teacher_rate: float = Field(0.1, gt=0, le=10, description="Peak learning rate of the teacher's training.")
    rho: float = Field(2.0, gt=0, le=100, description="Neighbourhood of the teacher's sharpness-aware steps.")
    beta: list[float] = Field(
        [500.0, 1000.0, 1000.0],
        min_length=1,
        description="Weight of the distance of attention at each stage, the deepest last; stages before them have the "
        "first.",
    )
    power: float = Field(2.0, ge=1, le=8, description="Attention is the sum over channels of |feature| to this power.")
    epochs: int = Field(20, ge=1, le=100_000, description="Times that the student uses each clean row.")
    learning_rate: float = Field(0.01, gt=0, le=10, description="Peak learning rate of the student at strength 1.")
    shift: int = Field(1, ge=0, le=64, description="Training pictures are shifted by up to so many pixels at random.")
