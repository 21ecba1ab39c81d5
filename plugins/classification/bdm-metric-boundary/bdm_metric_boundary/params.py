"""Parameters of ``metric:boundary``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field, Params


class BoundaryParams(Params):
    """Parameters of ``metric:boundary``."""

    samples: int = Field(200, ge=2, le=100_000, description="So many test rows are used at most, drawn at random.")
    strengths: int = Field(11, ge=2, le=101, description="Strengths of the trigger, evenly from 0.")
    strongest: float = Field(2.0, ge=1, le=10, description="The largest strength; 1 is the attack's own.")
    points: int = Field(41, ge=5, le=201, description="Points on each side of a map.")
    maps: int = Field(3, ge=0, le=16, description="Maps that are drawn.")
