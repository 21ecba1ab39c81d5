"""Parameters of ``attack:ssba``. Light: no torch."""

from __future__ import annotations

from typing import Any

from bdm_core import Field
from bdm_kit_classification.poison.params import PoisonParams

PAPER: dict[str, Any] = {"poison_rate": 0.1, "selection": "any", "bits": 100, "encoder_steps": 140_000, "width": 32}


class SsbaParams(PoisonParams):
    """Parameters of ``attack:ssba``."""

    bits: int = Field(16, ge=1, le=1024, description="Length of the message, drawn once from the seed.")
    encoder_steps: int = Field(400, ge=1, le=10_000_000, description="Steps of encoder and decoder.")
    encoder_rate: float = Field(0.01, gt=0, le=1, description="Learning rate of encoder and decoder.")
    change: float = Field(
        0.04, gt=0, le=1, description="Root mean square change of a pixel of each picture, in [0, 1], before clipping."
    )
    width: int = Field(16, ge=1, le=1024, description="Channels of both networks at full size.")
