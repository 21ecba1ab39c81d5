"""Parameters of ``defense:scale-up`` and ``defense:scale-up-data-free``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field, Params
from bdm_kit_classification.defending.params import InputDetectorParams, ReserveParams


class Amplification(Params):
    """How pixels are amplified."""

    factors: tuple[float, ...] = Field(
        (3.0, 5.0, 7.0, 9.0, 11.0), min_length=1, description="What pixels are multiplied with, one after the other."
    )


class ScaleUpParams(InputDetectorParams, ReserveParams, Amplification):
    """Parameters of ``defense:scale-up``."""


class ScaleUpDataFreeParams(Amplification):
    """Parameters of ``defense:scale-up-data-free``."""

    threshold: float = Field(
        0.5, ge=0, lt=1, description="Pictures are flagged whose share of unchanged predictions is above it."
    )
