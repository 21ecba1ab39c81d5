"""Parameters of ``defense:elijah`` of the task text-to-image. Light: no torch."""

from __future__ import annotations

from bdm_core import Field
from bdm_kit_diffusion.inversion.shift_search_params import ShiftSearchParams


class ElijahTextToImageParams(ShiftSearchParams):
    """Parameters of ``defense:elijah`` of the task text-to-image.

    Those of the training (steps, learning_rate, ...) are the removal's.
    """

    prompt: str = Field(
        "",
        description="Under which the UNet is examined; the empty one is a condition of its training.",
        calibrated=True,
    )
    inversion_steps: tuple[int, ...] = Field(
        (30, 15),
        min_length=1,
        description="Adam steps for each lambda; fewer at lambda = 1, where the objective is nearly flat.",
        calibrated=True,
    )
    screening_steps: int = Field(
        15, ge=0, description="After so many steps, candidates that have become alike are merged.", calibrated=True
    )
    screening_batch: int = Field(
        4, ge=2, description="Noise images for each candidate until then; even.", calibrated=True
    )
    noise_batch: int = Field(8, ge=2, description="Noise images for each candidate after that; even.", calibrated=True)
    sampling_steps: int = Field(20, ge=0, description="Steps of each sampler; 0 is its usual number.", calibrated=True)
    calibration: str = Field("", description="JSON file of `bdm calibrate elijah`; empty: the one shipped.")
    false_positive_rate: float = Field(
        0.01, gt=0, lt=0.5, description="Share of clean models that the threshold may flag."
    )
    least_score: float = Field(
        2.0, ge=0, description="The threshold is never below this: at 2, images must be e^2 times as alike as usual."
    )
