"""Parameters of ``defense:ft-sam``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field
from bdm_kit_classification.defending.tuning_params import TuningParams


class FtSamParams(TuningParams):
    """Parameters of ``defense:ft-sam``."""

    rho: float = Field(2.0, gt=0, le=100, description="Size of the neighbourhood, relative to the weights.")
    epochs: int = Field(30, ge=1, le=100_000, description="Times that each clean row is used.")
    learning_rate: float = Field(0.05, gt=0, le=10, description="Peak learning rate at strength 1.")
    label_smoothing: float = Field(0.1, ge=0, lt=1, description="Share of each label given to all classes alike.")
    shift: int = Field(1, ge=0, le=64, description="Training pictures are shifted by up to so many pixels at random.")
