"""Parameters of ``metric:trajectory``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field, Params


class TrajectoryParams(Params):
    """Parameters of ``metric:trajectory``."""

    pairs: int = Field(16, ge=1, le=10_000, description="Pairs of prompts, without and with the trigger, at most.")
    shown: int = Field(2, ge=0, le=8, description="Pairs whose pictures are shown.")
    steps: int = Field(20, ge=2, le=1000, description="Sampling steps.")
    looks: int = Field(
        8, ge=2, le=16, description="At so many of the steps, evenly spaced, the belief is decoded and looked at."
    )
    guidance: float = Field(3.0, ge=0, description="Scale of classifier-free guidance.")
    batch_size: int = Field(16, ge=1, le=10_000, description="Prompts at once.")
