"""Parameters that all detectors of triggered prompts have. Light: no torch."""

from __future__ import annotations

from bdm_core import Field, Params


class PromptDetectorParams(Params):
    """Base of the parameters of a detector of prompts."""

    clean_prompts: int = Field(
        160,
        ge=4,
        le=100_000,
        description="Captions of the defender's clean data on which the detector is calibrated, none of them a "
        "suspect; where it must be fitted, on one half, and its threshold set on the other.",
    )
    false_positive_rate: float = Field(
        0.05, gt=0, lt=0.5, description="Share of clean prompts that the threshold may flag."
    )
    batch_size: int = Field(64, ge=1, le=100_000, description="Prompts that pass through the model at once.")
