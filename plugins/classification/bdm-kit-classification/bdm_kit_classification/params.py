"""Parameters of ``kit:classification``. Light: no torch."""

from __future__ import annotations

from typing import Literal

from bdm_core.plugin import Field
from bdm_kit_classification.noise.params import NoiseParams


class ClassificationKitParams(NoiseParams):
    """Parameters of ``kit:classification``."""

    batch_size: int = Field(256, ge=1, le=100_000, description="Samples run at once.", stages=["generate"])
    samples: int | None = Field(
        None,
        ge=2,
        le=1_000_000,
        description="Test samples to evaluate on, drawn at random; null: all. The triggered ones are the same samples.",
        stages=["make-inputs"],
    )
    most_rows: int | None = Field(
        None,
        ge=20,
        description="Use at most so many training rows; null: all.",
        stages=["open-data"],
    )
    size: int | None = Field(
        None,
        ge=8,
        le=1024,
        description="Height and width in pixels at which pictures of a folder are kept; null: what the model takes. "
        "The model resizes what it sees.",
        stages=["open-data"],
    )
    mixed_precision: Literal["no", "bf16", "fp16"] = Field(
        "no",
        description="Precision of the training of attacks and defenses: no is float32.",
        stages=["poison-data", "inject-backdoor", "detect", "repair"],
    )
