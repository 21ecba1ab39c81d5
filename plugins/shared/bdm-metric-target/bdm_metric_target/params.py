"""Parameters of ``metric:target``. Light: no torch."""

from __future__ import annotations

from pydantic import field_validator

from bdm_core import Field, Params

EXTRA = "pip install 'bdm-metric-target[lpips]'"


class TargetParams(Params):
    """Parameters of ``metric:target``."""

    thresholds: tuple[float, ...] = Field(
        (0.05, 0.1),
        min_length=1,
        description="A sample counts as the target if its mean squared error, pixels in [0, 1], is below this. "
        "Each threshold gives one attack success rate; the first one also decides the leak.",
    )
    histogram_bins: int = Field(40, ge=2, le=1000, description="Bins of the histogram of errors in [0, 1].")
    lpips: bool = Field(
        False, description="Also measure LPIPS (AlexNet); needs the extra bdm-metric-target[lpips] and its weights."
    )

    @field_validator("thresholds")
    @classmethod
    def _inside_the_unit_interval(cls, thresholds: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0 < threshold <= 1 for threshold in thresholds):
            raise ValueError("every threshold lies in (0, 1]")
        return thresholds
