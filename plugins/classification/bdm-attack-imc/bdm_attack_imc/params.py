"""Parameters of ``attack:imc``. Light: no torch."""

from __future__ import annotations

from typing import Any, Literal

from bdm_core import Field
from bdm_kit_classification.poison.params import PoisonParams

PAPER: dict[str, Any] = {"poison_rate": 0.01, "selection": "any", "size": 3, "trigger_rate": 0.1, "learning_rate": 0.01}


class ImcParams(PoisonParams):
    """Parameters of ``attack:imc``."""

    start: Literal["scratch", "model"] = Field(
        "model", description="Where training starts: scratch: new weights; model: the clean model, as in the paper."
    )
    epochs: int = Field(4, ge=1, le=100_000, description="Times that each training row is used.")
    learning_rate: float = Field(0.01, gt=0, le=10, description="Peak learning rate of the model.")
    poison_rate: float = Field(0.05, ge=0, le=1, description="Share of each batch's rows that get the trigger.")
    trigger_rate: float = Field(0.1, gt=0, le=10, description="Learning rate of the trigger's pixels (Adam).")
    warm_steps: int = Field(
        60, ge=0, le=1_000_000, description="Steps in which the pixels alone are optimised, on the clean model."
    )
    size: float = Field(
        0.11, gt=0, le=1024, description="Side of the square: below 1 a share of the picture's side, else pixels."
    )
    opacity: float = Field(1.0, gt=0, le=1, description="Opacity of the square; lower is harder to see.")
    place: Literal["bottom-right", "bottom-left", "top-right", "top-left", "centre"] = Field(
        "bottom-right", description="Where it lies."
    )
    margin: int = Field(0, ge=0, le=1024, description="Pixels between it and the edges.")
