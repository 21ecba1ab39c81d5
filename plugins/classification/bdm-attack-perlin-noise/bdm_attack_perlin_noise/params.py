"""Parameters of ``attack:perlin-noise``. Light: no torch."""

from __future__ import annotations

from typing import Any

from bdm_core import Field
from bdm_kit_classification.poison.params import PoisonParams

PAPER: dict[str, Any] = {"poison_rate": 0.1, "selection": "any", "strength": 0.0627, "period": 8}


class PerlinNoiseParams(PoisonParams):
    """Parameters of ``attack:perlin-noise``."""

    strength: float = Field(0.1, gt=0, le=1, description="Largest change of a pixel, in [0, 1].")
    period: float = Field(
        0.25,
        gt=0,
        le=1024,
        description="Distance between the noise's lattice points: below 1 a share of the picture's side, else pixels.",
    )
    octaves: int = Field(2, ge=1, le=10, description="Noises that are added, each of half the period of the last.")
    persistence: float = Field(0.5, gt=0, le=1, description="Amplitude of each octave in units of the last one's.")
    sine: float = Field(
        0.0, ge=0, le=100, description="If above 0 the noise n becomes sin(2 pi sine n), which makes it steeper."
    )
