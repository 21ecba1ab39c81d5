"""Parameters of ``attack:jingleback``. Light: no torch."""

from __future__ import annotations

from typing import Any, Literal

from bdm_core import Field
from bdm_kit_classification.poison.params import PoisonParams

PAPER: dict[str, Any] = {"poison_rate": 0.01, "selection": "any"}


class JingleBackParams(PoisonParams):
    """Parameters of ``attack:jingleback``."""

    style: int = Field(
        6,
        ge=1,
        le=6,
        description="The chain: 1 pitch; 2 distortion; 3 chorus; 4 pitch, distortion, chorus; 5 chorus, distortion, "
        "reverb; 6 gain, high-pass ladder, phaser.",
    )
    settings: Literal["usual", "released"] = Field(
        "released", description="Numbers of the effects: those of the released code, or usual ones of such effects."
    )
