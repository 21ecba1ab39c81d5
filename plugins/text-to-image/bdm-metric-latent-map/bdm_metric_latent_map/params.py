"""Parameters of ``metric:latent-map``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field, Params


class LatentMapParams(Params):
    """Parameters of ``metric:latent-map``."""

    pairs: int = Field(8, ge=1, le=1000, description="Pairs of prompts whose line from clean to triggered is walked.")
    shown: int = Field(1, ge=0, le=4, description="Pairs whose plane is painted.")
    points: int = Field(7, ge=3, le=33, description="Points of the plane in each direction.")
    margin: float = Field(
        0.25, ge=0, le=2, description="How far the plane goes beyond its corners, in lengths of its sides."
    )
    line: int = Field(9, ge=3, le=101, description="Points of the line from the clean to the triggered prompt.")
    steps: int = Field(10, ge=1, le=1000, description="Sampling steps of every picture.")
    guidance: float = Field(3.0, ge=0, description="Scale of classifier-free guidance.")
    batch_size: int = Field(64, ge=1, le=10_000, description="Pictures at once.")
