"""Parameters of ``defense:clip``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field, Params


class ClipParams(Params):
    """Parameters of ``defense:clip``."""

    limit: float = Field(
        1.0, gt=0, le=100, description="Every step of the sampling is clipped to plus or minus this; published: 1."
    )
