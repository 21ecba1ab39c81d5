"""Parameters of ``defense:cognitive-distillation``. Light: no torch."""

from __future__ import annotations

from typing import Literal

from bdm_core import Field
from bdm_kit_classification.defending.params import RowDetectorParams


class CognitiveDistillationParams(RowDetectorParams):
    """Parameters of ``defense:cognitive-distillation``."""

    rule: Literal["reserve", "deviation"] = Field(
        "reserve",
        description="Where the threshold comes from: reserve: what few clean rows exceed; deviation: one standard "
        "deviation below the mean of the masks of clean rows, as released.",
    )
    mask_steps: int = Field(60, ge=1, le=100_000, description="Adam's steps for each mask; published 100.")
    mask_learning_rate: float = Field(0.1, gt=0, le=10, description="Adam's learning rate for the masks.")
    size_weight: float = Field(
        0.01, ge=0, le=1e6, description="Weight of a mask's size in pixels; published 0.01 for logits."
    )
    smoothness_weight: float = Field(10.0, ge=0, le=1e6, description="Weight of a mask's total variation.")
    output: Literal["logits", "features"] = Field("logits", description="What the masked picture must keep.")
