"""Parameters of ``metric:nab-filter``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field, Params


class NabFilterParams(Params):
    """Parameters of ``metric:nab-filter``."""

    samples: int = Field(1000, ge=1, le=1_000_000, description="So many test rows are used at most, drawn at random.")
