"""Parameters of ``defense:fine-tune`` of the task text-to-image. Light: no torch."""

from __future__ import annotations

from bdm_core import Field
from bdm_torch.training_params import TrainingParams


class FineTuneParams(TrainingParams):
    """Parameters of ``defense:fine-tune`` of the task text-to-image."""

    teacher: str = Field(
        "",
        description="A public base: small-world, or a folder. UNet and text encoders then learn to answer clean "
        "captions as it does; without one the UNet learns from the images alone.",
    )
    images: int = Field(1024, ge=1, le=1_000_000, description="Use at most so many captioned images.")
    steps: int = Field(200, ge=1, description="Optimiser steps, of the UNet and, with a teacher, of the encoders.")
    batch_size: int = Field(32, ge=1, description="Captioned images a step.")
    learning_rate: float = Field(5e-4, gt=0, le=1, description="Adam's peak learning rate.")
