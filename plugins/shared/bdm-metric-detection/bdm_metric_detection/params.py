"""Parameters of ``metric:detection``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field, Params


class DetectionParams(Params):
    """Parameters of ``metric:detection``."""

    confidence: float = Field(
        0.95,
        gt=0,
        lt=1,
        description="Confidence of the intervals of the rates over inputs or training rows, and of the AUROC.",
    )
