"""Parameters of ``attack:blind``. Light: no torch."""

from __future__ import annotations

from typing import Any, Literal

from bdm_core import Field
from bdm_kit_classification.poison.params import PoisonParams

PAPER: dict[str, Any] = {"height": 5, "width": 3, "history": 1000, "threshold": 1.0}


class BlindParams(PoisonParams):
    """Parameters of ``attack:blind``."""

    poison_rate: float = Field(
        0.05,
        ge=0,
        le=1,
        description="Share of the rows that get the trigger in the view; the loss itself triggers a copy of every row "
        "that may be poisoned.",
    )
    weights: Literal["fixed", "mgda"] = Field("fixed", description="How the two losses are weighed.")
    clean_weight: float = Field(1.0, ge=0, description="Weight of the clean loss, if fixed.")
    backdoor_weight: float = Field(0.9, ge=0, description="Weight of the backdoor's loss, if fixed.")
    threshold: float = Field(
        1.0, gt=0, description="The backdoor's loss counts while the running clean loss is below this."
    )
    history: int = Field(50, ge=1, le=1_000_000, description="Steps whose mean is the running clean loss.")
    height: float = Field(0.18, gt=0, le=1024, description="Of the pattern: below 1 a share of the side, else pixels.")
    width: float = Field(0.11, gt=0, le=1024, description="Of the pattern: below 1 a share of the side, else pixels.")
    place: Literal["bottom-right", "bottom-left", "top-right", "top-left", "centre"] = Field(
        "top-left", description="Where the pattern lies."
    )
    margin: int = Field(1, ge=0, le=1024, description="Pixels between the pattern and the edges.")
