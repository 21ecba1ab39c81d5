"""Parameters of ``attack:adaptive-patch``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field
from bdm_kit_classification.poison.params import PoisonParams


class AdaptivePatchParams(PoisonParams):
    """Parameters of ``attack:adaptive-patch``."""

    cover_rate: float = Field(
        0.05, ge=0, le=1, description="Share of the training set that gets one patch and keeps its label."
    )
    size: float = Field(
        0.15, gt=0, le=1024, description="Side of each patch: below 1 a share of the picture's side, else pixels."
    )
    opacities: list[float] = Field(
        [0.5, 0.5, 0.5, 0.5],
        min_length=1,
        max_length=16,
        description="Opacity of each patch in training; so many are made.",
    )
    test_opacity: float = Field(1.0, gt=0, le=1, description="Opacity of each patch in triggered test pictures.")
    test_patches: int = Field(2, ge=0, le=16, description="So many of the patches are put into test pictures; 0: all.")
