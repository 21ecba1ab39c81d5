"""Parameters of ``attack:blended``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field
from bdm_kit_classification.poison.params import PoisonParams


class BlendedParams(PoisonParams):
    """Parameters of ``attack:blended``."""

    train_opacity: float = Field(0.2, gt=0, le=1, description="Share of the pattern in poisoned training samples.")
    test_opacity: float = Field(0.2, gt=0, le=1, description="Share of the pattern in triggered test samples.")
    picture: str = Field("", description="A picture file to blend in; by default uniform noise, drawn once.")
    sound_factor: float = Field(
        1.5,
        gt=0,
        le=100,
        description="Of sound: what both opacities are multiplied by; noise is learnt less well there.",
    )
    recording: str = Field("", description="Of sound: a file to mix in; by default uniform noise, drawn once.")
