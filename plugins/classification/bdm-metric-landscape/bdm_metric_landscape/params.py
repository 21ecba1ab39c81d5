"""Parameters of ``metric:landscape``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field, Params


class LandscapeParams(Params):
    """Parameters of ``metric:landscape``."""

    samples: int = Field(
        128,
        ge=2,
        le=100_000,
        description="Test rows of the loss, drawn at random; the poison loss is of the eligible ones.",
    )
    points: int = Field(11, ge=3, le=101, description="Points on each side of the landscape, and of the path.")
    radius: float = Field(1.0, gt=0, le=10, description="How far the landscape goes, in norms of each filter.")
    lanczos_steps: int = Field(16, ge=2, le=500, description="Steps of the Lanczos iteration.")
    probes: int = Field(2, ge=1, le=100, description="Random vectors that the spectrum is averaged over.")
