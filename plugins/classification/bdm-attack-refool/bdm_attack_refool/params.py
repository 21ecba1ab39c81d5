"""Parameters of ``attack:refool``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field
from bdm_kit_classification.poison.params import PoisonParams


class RefoolParams(PoisonParams):
    """Parameters of ``attack:refool``."""

    pictures: str = Field(
        "", description="Folder of pictures that are reflected; by default shapes and shades, drawn by code."
    )
    count: int = Field(64, ge=1, le=10_000, description="At most so many of them are used.")
    selection_rounds: int = Field(
        0,
        ge=0,
        le=1000,
        description="Rounds in which reflections are chosen by how well they attack held-out training rows, as in the "
        "paper; 0: they are taken as they come.",
    )
    kept: int = Field(16, ge=1, le=10_000, description="With rounds: so many pictures are drawn in each, and kept.")
    selection_epochs: int = Field(3, ge=1, le=100_000, description="Epochs of the small classifier of each round.")
    validation: int = Field(200, ge=1, le=1_000_000, description="Training rows that rounds hold out, at most a fifth.")
    opacity: float = Field(0.4, gt=0, le=1, description="Weight of the reflection; the picture keeps the rest.")
    ghost_share: float = Field(
        0.49, ge=0, le=1, description="Share of the reflections that are ghosts (doubled); the others are out of focus."
    )
    blur: float = Field(
        0.06, gt=0, le=0.5, description="Largest standard deviation of the blur out of focus, of the shorter side."
    )
    ghost_shift: float = Field(
        0.15, gt=0, le=0.5, description="Farthest that a ghost lies from its picture along each axis, of the side."
    )
    gamma: float = Field(
        1.0, gt=0, le=4, description="Pictures are mixed as light: pixels to this power; 1 mixes pixels as they are."
    )
