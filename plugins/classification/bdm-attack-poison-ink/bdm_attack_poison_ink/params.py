"""Parameters of ``attack:poison-ink``. Light: no torch."""

from __future__ import annotations

from typing import Any

from bdm_core import Field
from bdm_kit_classification.poison.params import PoisonParams

PAPER: dict[str, Any] = {"poison_rate": 0.1, "selection": "any", "encoder_steps": 40_000, "width": 32}


class PoisonInkParams(PoisonParams):
    """Parameters of ``attack:poison-ink``."""

    red: float = Field(1.0, ge=0, le=1, description="Red of the ink; grey pictures take the mean of the three.")
    green: float = Field(0.5, ge=0, le=1, description="Green of the ink.")
    blue: float = Field(0.0, ge=0, le=1, description="Blue of the ink.")
    edge_threshold: float = Field(
        0.5, gt=0, description="Least gradient of an edge, as a share of the picture's largest."
    )
    encoder_steps: int = Field(400, ge=1, le=10_000_000, description="Steps of encoder and decoder.")
    encoder_rate: float = Field(5e-3, gt=0, le=1, description="Learning rate of encoder and decoder.")
    change: float = Field(
        0.06, gt=0, le=1, description="Root mean square change of a pixel of each picture, in [0, 1], before clipping."
    )
    width: int = Field(16, ge=1, le=1024, description="Channels of both networks at full size.")
