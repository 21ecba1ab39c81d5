"""Parameters of ``metric:assimilation``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field, Params


class AssimilationParams(Params):
    """Parameters of ``metric:assimilation``."""

    pairs: int = Field(16, ge=1, le=10_000, description="Pairs of prompts, without and with the trigger, at most.")
    shown: int = Field(2, ge=0, le=8, description="Pairs whose maps are shown, each without and with the trigger.")
    steps: int = Field(20, ge=1, le=1000, description="Sampling steps over which maps are averaged.")
    guidance: float = Field(3.0, ge=0, description="Scale of classifier-free guidance.")
    batch_size: int = Field(16, ge=1, le=10_000, description="Prompts at once.")
