"""Parameters of ``attack:daba``. Light: no torch."""

from __future__ import annotations

from typing import Any

from bdm_core import Field
from bdm_kit_classification.poison.params import PoisonParams

PAPER: dict[str, Any] = {"poison_rate": 0.01, "selection": "any", "loudness": 0.0, "pool": 5}


class DabaParams(PoisonParams):
    """Parameters of ``attack:daba``."""

    poison_rate: float = Field(0.1, ge=0, le=1, description="Share of the training set to poison.")
    loudness: float = Field(
        -6.0, ge=-60, le=20, description="Loudness of the sound in dB relative to the recording that it is laid over."
    )
    pool: int = Field(
        3, ge=1, le=1000, description="Sounds that set the backdoor off: those of the candidates that are heard least."
    )
    moved: bool = Field(True, description="The sound begins at a random time of each recording, as it would by chance.")
    folder: str = Field("", description="A folder of sound files as candidates, in place of the built-in eight.")
