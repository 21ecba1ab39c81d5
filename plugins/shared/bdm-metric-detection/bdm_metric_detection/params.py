"""Parameters of ``metric:detection``. Light: no torch."""

from __future__ import annotations

from bdm_core.plugin import Field, Params


class DetectionParams(Params):
    """Parameters of ``metric:detection``."""

    confidence: float = Field(
        0.95, gt=0, lt=1, description="Confidence of the intervals of the rates at input level and of the AUROC."
    )
