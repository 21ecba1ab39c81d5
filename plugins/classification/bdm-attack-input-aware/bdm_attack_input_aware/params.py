"""Parameters of ``attack:input-aware``. Light: no torch."""

from __future__ import annotations

from typing import Any, Literal

from bdm_core import Field
from bdm_kit_classification.poison.params import PoisonParams

PAPER: dict[str, Any] = {
    "poison_rate": 0.1,
    "selection": "any",
    "density_of": "pixel",
    "mask_epochs": 25,
    "epochs": 575,
    "batch_size": 128,
    "learning_rate": 0.01,
    "generator_rate": 0.01,
}


class InputAwareParams(PoisonParams):
    """Parameters of ``attack:input-aware``."""

    poison_rate: float = Field(0.1, ge=0, le=1, description="Share of each batch's rows that get their own trigger.")
    cross_rate: float = Field(
        0.1, ge=0, le=1, description="Share of each batch's rows that get another row's trigger and keep their label."
    )
    density: float = Field(0.032, gt=0, le=1, description="Mean of the mask that costs nothing.")
    density_of: Literal["picture", "pixel"] = Field(
        "picture",
        description="What costs: the mean of a mask above the density; or each of its pixels, averaged, as published.",
    )
    density_weight: float = Field(100.0, ge=0, description="Weight of what the mask exceeds the density by.")
    diversity_weight: float = Field(1.0, ge=0, description="Weight of the diversity of masks, and of patterns.")
    mask_epochs: int = Field(4, ge=1, le=100_000, description="Epochs of the mask network, before all else.")
    mask_rate: float = Field(0.01, gt=0, le=1, description="Learning rate of the mask network.")
    generator_rate: float = Field(0.01, gt=0, le=1, description="Learning rate of the pattern network.")
    width: int = Field(16, ge=1, le=1024, description="Channels of both networks at full size.")
