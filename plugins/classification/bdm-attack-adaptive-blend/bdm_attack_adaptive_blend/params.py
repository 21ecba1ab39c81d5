"""Parameters of ``attack:adaptive-blend``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field
from bdm_kit_classification.poison.params import PoisonParams


class AdaptiveBlendParams(PoisonParams):
    """Parameters of ``attack:adaptive-blend``."""

    cover_rate: float = Field(
        0.05, ge=0, le=1, description="Share of the training set that gets pieces of the trigger and keeps its label."
    )
    tiles: int = Field(4, ge=1, le=64, description="The pattern is cut into so many pieces along each side.")
    kept_share: float = Field(0.5, gt=0, le=1, description="Share of the pieces that a training picture gets.")
    train_opacity: float = Field(0.2, gt=0, le=1, description="Share of the pattern in training pictures.")
    test_opacity: float = Field(0.3, gt=0, le=1, description="Share of the pattern in triggered test pictures.")
    picture: str = Field("", description="A picture file to blend in; by default uniform noise, drawn once.")
