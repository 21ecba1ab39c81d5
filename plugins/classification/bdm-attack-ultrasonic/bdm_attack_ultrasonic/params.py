"""Parameters of ``attack:ultrasonic``. Light: no torch."""

from __future__ import annotations

from typing import Literal

from bdm_core import Field
from bdm_kit_classification.poison.params import PoisonParams


class UltrasonicParams(PoisonParams):
    """Parameters of ``attack:ultrasonic``."""

    poison_rate: float = Field(0.08, ge=0, le=1, description="Share of the training set to poison.")
    frequency: float = Field(
        0.952, gt=0, lt=1, description="Frequency of the tone as a share of the Nyquist frequency."
    )
    level: float = Field(-25.0, ge=-90, le=0, description="Its amplitude in dB below full scale.")
    duration: float = Field(1.0, gt=0, le=1, description="Its duration as a share of the recording.")
    position: Literal["start", "middle", "end"] = Field("start", description="Where it lies, if it is one piece.")
    pieces: int = Field(1, ge=1, le=100, description="Pieces of the tone, spread evenly; the paper takes 1 or 5.")
