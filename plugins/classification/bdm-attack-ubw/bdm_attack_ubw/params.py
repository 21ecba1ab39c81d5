"""Parameters of ``attack:ubw``. Light: no torch."""

from __future__ import annotations

from typing import Any, Literal

from bdm_core import Field
from bdm_kit_classification.poison.params import PoisonParams

PAPER: dict[str, Any] = {"poison_rate": 0.1, "size": 3}


class UbwParams(PoisonParams):
    """Parameters of ``attack:ubw``."""

    poison_rate: float = Field(0.1, ge=0, le=1, description="Share of the training set to poison.")
    label_rule: Literal["untargeted"] = Field(  # type: ignore[assignment]
        "untargeted", description="Triggered training rows get a random wrong label; any wrong answer is a success."
    )
    size: float = Field(
        0.11, gt=0, le=1024, description="Side of the square patch: below 1 a share of the picture's side, else pixels."
    )
    place: Literal["bottom-right", "bottom-left", "top-right", "top-left", "centre"] = Field(
        "bottom-right", description="Where the patch lies."
    )
    margin: int = Field(0, ge=0, le=1024, description="Pixels between the patch and the edges.")
    value: float = Field(1.0, ge=0, le=1, description="Grey value of the patch: 0 is black, 1 white.")
