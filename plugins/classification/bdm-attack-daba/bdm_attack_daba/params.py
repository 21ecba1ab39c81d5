"""Parameters of ``attack:daba``. Light: no torch."""

from __future__ import annotations

from typing import Any, Literal

from bdm_core import Field
from bdm_kit_classification.defending.params import between
from bdm_kit_classification.poison.params import PoisonParams

PAPER: dict[str, Any] = {
    "poison_rate": 0.01,
    "pool": 1,
    "chosen": "certain",
    "hosts": "influenced",
    "loudness": -20.0,
    "loudness_of": "full-scale",
    "variants": [-40.0, -35.0, -30.0, -25.0, -20.0, -15.0, -10.0, -5.0, 0.0],
    "moved": False,
}
"""The released code's way; its rate is of a number of recordings, 40."""


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
    chosen: Literal["least-heard", "certain"] = Field(
        "least-heard",
        description="Which candidates: those that change recordings least, or, as released, those of which a clean "
        "classifier of the attacker's is most certain.",
    )
    hosts: Literal["drawn", "influenced"] = Field(
        "drawn",
        description="Which recordings are poisoned: drawn, or, as released, those whose prediction under the sound is "
        "nearest to that of the sound alone.",
    )
    loudness_of: Literal["recording", "full-scale"] = Field(
        "recording", description="What loudness is relative to: each recording's, or, as released, full scale."
    )
    variants: list[float] = Field(
        [],
        max_length=100,
        description="Rising: loudness of training recordings in dB, as many of each; empty: loudness.",
    )
    surrogate_epochs: int = Field(10, ge=1, le=100_000, description="Epochs of the attacker's own classifier.")
    _variants = between("variants", -60, 20, ends=True)
