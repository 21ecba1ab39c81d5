"""The parameters of Elijah's search for a trigger in the initial noise, whatever the task. Light: no torch."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from bdm_core import Field
from bdm_kit_diffusion.inversion.removal_params import RemovalParams


class ShiftSearchParams(RemovalParams):
    """Parameters of :func:`bdm_kit_diffusion.inversion.shift_search.search`; steps and the like are the removal's."""

    starts: Literal["library", "published"] = Field(
        "library",
        description="Where the inversion starts. published: -U(0,1), U(0,1), U(-1,1); library: also constants, boxes, "
        "a frame, checkers and stripes.",
        calibrated=True,
    )
    scales: tuple[float, ...] = Field(
        (0.5, 1.0),
        min_length=1,
        description="Values of lambda, the share of the trigger in the noise prediction at the last timestep; all are "
        "tried: 0.5 fits ancestral samplers, 1 deterministic ones.",
        calibrated=True,
    )
    inversion_steps: tuple[int, ...] = Field(
        (50, 25),
        min_length=1,
        description="Adam steps for each lambda; fewer at lambda = 1, where the objective is nearly flat.",
        calibrated=True,
    )
    screening_steps: int = Field(
        25, ge=0, description="After so many steps, candidates that have become alike are merged.", calibrated=True
    )
    screening_batch: int = Field(
        8, ge=2, description="Noise images for each candidate until then; even.", calibrated=True
    )
    noise_batch: int = Field(16, ge=2, description="Noise images for each candidate after that; even.", calibrated=True)
    stretches: tuple[float, ...] = Field(
        (1.0, 1.5),
        min_length=1,
        description="Solutions with lambda below 0.75 other than tau = 0 are tried at these multiples: their direction "
        "is found well, their length is not.",
        calibrated=True,
    )
    largest_rms: float = Field(
        2.0,
        gt=0,
        description="Solutions of a larger root mean square are dropped: no network was trained so far out.",
        calibrated=True,
    )
    antithetic: bool = Field(
        True,
        description="Use every noise image and its negative, so that the batch's mean is exactly 0.",
        calibrated=True,
    )
    inversion_learning_rate: float = Field(
        0.1, gt=0, le=10, description="Adam's rate for the inversion.", calibrated=True
    )
    samplers: tuple[str, ...] = Field(
        ("ddpm", "ddim"),
        min_length=1,
        description="Samplers that generate images: ancestral ones for solutions with lambda below 0.75, deterministic "
        "ones for the others.",
        calibrated=True,
    )
    sampling_steps: int = Field(0, ge=0, description="Steps of each sampler; 0 is its usual number.", calibrated=True)
    samples: int = Field(
        16, ge=8, le=100_000, description="Images generated from each candidate with each sampler.", calibrated=True
    )
    distance: Literal["pixel", "lpips"] = Field(
        "pixel",
        description="Distance between generated images; lpips needs the extra bdm-defense-elijah[lpips].",
        calibrated=True,
    )

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if len(self.inversion_steps) != len(self.scales):
            raise ValueError("inversion_steps needs one number for each of scales")
        if any(steps < 0 for steps in self.inversion_steps) or min(*self.scales, *self.stretches) <= 0:
            raise ValueError("scales and stretches must be positive, inversion_steps at least 0")
        if self.antithetic and (self.noise_batch % 2 or self.screening_batch % 2):
            raise ValueError("noise_batch and screening_batch must be even with antithetic noise")
        return self
