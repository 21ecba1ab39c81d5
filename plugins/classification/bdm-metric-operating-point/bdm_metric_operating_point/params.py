"""Parameters of ``metric:operating-point``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field, Params


class OperatingPointMetricParams(Params):
    """Parameters of ``metric:operating-point``."""

    points: int = Field(11, ge=2, le=1000, description="So many candidates of a sweep are looked at, evenly spread.")
    samples: int = Field(300, ge=2, le=1_000_000, description="So many test rows are used at most, drawn at random.")
