"""Parameters of ``defense:clp`` and ``defense:clp-swept``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field, Params
from bdm_kit_classification.defending.params import OperatingPointParams


class ClpParams(Params):
    """Parameters of ``defense:clp``."""

    deviations: float = Field(
        3.0,
        ge=0,
        le=100,
        description="Prune channels whose bound is so many standard deviations above the mean of their layer (u).",
    )


class SweptClpParams(OperatingPointParams):
    """Parameters of ``defense:clp-swept``."""
