"""Parameters of ``metric:attribution``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field, Params


class AttributionParams(Params):
    """Parameters of ``metric:attribution``."""

    samples: int = Field(32, ge=1, le=10_000, description="Eligible test rows that are looked at, drawn at random.")
    shown: int = Field(4, ge=1, le=16, description="Of these are shown as pictures.")
    background: int = Field(32, ge=1, le=10_000, description="Draws of a background picture for each SHAP value.")
