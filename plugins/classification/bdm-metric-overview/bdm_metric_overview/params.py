"""Parameters of ``metric:overview``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field, Params


class OverviewParams(Params):
    """Parameters of ``metric:overview``."""

    layers: int = Field(40, ge=1, le=1000, description="Layers in the table of the network's structure.")
