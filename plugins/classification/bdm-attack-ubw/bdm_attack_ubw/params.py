"""Parameters of ``attack:ubw``. Light: no torch."""

from __future__ import annotations

from typing import Any, Literal

from bdm_core import Field
from bdm_kit_classification.poison.params import PoisonParams

PAPER: dict[str, Any] = {"poison_rate": 0.1, "size": 3, "margin": 0}


class UbwParams(PoisonParams):
    """Parameters of ``attack:ubw``."""

    mode: Literal["poisoned-label", "clean-label"] = Field(
        "poisoned-label",
        description="poisoned-label: patched rows with random wrong labels (UBW-P); clean-label: rows keep their label "
        "and get no patch but a perturbation by gradient matching (UBW-C).",
    )
    poison_rate: float = Field(0.1, ge=0, le=1, description="Share of the training set to poison.")
    label_rule: Literal["untargeted"] = Field(  # type: ignore[assignment]
        "untargeted", description="Triggered training rows get a random wrong label; any wrong answer is a success."
    )
    epochs: int = Field(30, ge=1, le=100_000, description="Times that each training row is used.")
    size: float = Field(
        0.4, gt=0, le=1024, description="Side of the square patch: below 1 a share of the picture's side, else pixels."
    )
    place: Literal["bottom-right", "bottom-left", "top-right", "top-left", "centre"] = Field(
        "bottom-right", description="Where the patch lies."
    )
    margin: int = Field(1, ge=0, le=1024, description="Pixels between the patch and the edges.")
    value: float = Field(1.0, ge=0, le=1, description="Grey value of the patch: 0 is black, 1 white.")
    bound: float = Field(16 / 255, gt=0, le=1, description="clean-label: largest change of a pixel, in [0, 1].")
    dispersion: float = Field(
        2.0, ge=0, le=1000, description="clean-label: weight of the prediction's entropy beside the cross entropy."
    )
    craft_steps: int = Field(250, ge=1, le=1_000_000, description="clean-label: steps of the perturbations.")
    craft_rate: float = Field(
        0.025, gt=0, le=1, description="clean-label: change of a pixel in a step, a tenth of it after 3/8, 5/8 and 7/8."
    )
    craft_optimizer: Literal["adam", "sign"] = Field(
        "adam", description="clean-label: adam on the signs of the slopes, or sign: plain signed steps."
    )
    periods: int = Field(5, ge=1, le=1000, description="clean-label: the surrogate is trained anew for each period.")
    restarts: int = Field(2, ge=1, le=100, description="clean-label: random starts, of which the best is kept.")
    surrogate_epochs: int = Field(
        5, ge=1, le=100_000, description="clean-label: epochs of the attacker's own classifier."
    )
    outer_rows: int = Field(512, ge=1, description="clean-label: rows that are to be told wrong behind the patch.")
