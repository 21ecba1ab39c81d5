"""Parameters of ``attack:bpp``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field
from bdm_kit_classification.poison.params import PoisonParams


class BPPParams(PoisonParams):
    """Parameters of ``attack:bpp``."""

    levels: int = Field(3, ge=2, le=255, description="Levels that are left of each channel's 256.")
    dither: bool = Field(True, description="Spread the rounding errors to the neighbours (Floyd and Steinberg).")
    negative_rate: float = Field(
        0.05, ge=0, le=1, description="Share of the rows that get another picture's residual and keep their label."
    )
