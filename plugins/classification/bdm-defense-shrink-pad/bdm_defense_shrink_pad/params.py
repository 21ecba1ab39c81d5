"""Parameters of ``defense:shrink-pad``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field, Params


class ShrinkPadParams(Params):
    """Parameters of ``defense:shrink-pad``."""

    shrink: float = Field(
        0.125, ge=0, lt=1, description="Share of the side by which a picture is shrunk: 4 of 32 pixels in the paper."
    )
    fill: float = Field(0.0, ge=0, le=1, description="Value of the padded pixels, in [0, 1].")
