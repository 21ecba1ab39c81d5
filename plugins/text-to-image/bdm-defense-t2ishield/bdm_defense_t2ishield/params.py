"""Parameters of ``defense:t2ishield``. Light: no torch."""

from __future__ import annotations

from typing import Literal

from bdm_core import Field
from bdm_kit_text_to_image.detection.params import PromptDetectorParams


class T2IShieldParams(PromptDetectorParams):
    """Parameters of ``defense:t2ishield``."""

    method: Literal["ftt", "cda"] = Field(
        "ftt", description="ftt: distance of the maps to their mean; cda: their spectrum against that of clean prompts."
    )
    steps: int = Field(20, ge=1, le=1000, description="Sampling steps over which maps are averaged.")
    guidance: float = Field(3.0, ge=0, description="Scale of classifier-free guidance.")
    components: int = Field(20, ge=1, le=75, description="cda: principal components, at most so many.")
    tokens: Literal["all", "prompt"] = Field(
        "all", description="cda: maps of all token positions but the start, as published, or of the prompt's own only."
    )
    examples: str = Field(
        "",
        description='cda: a JSON lines file of prompts with {"prompt": ..., "triggered": true or false}: the '
        "detector is then the published one, a linear discriminant, and knows triggers: a supervised one.",
    )
    shrinkage: float = Field(0.1, gt=0, le=1, description="cda: how far the covariance is drawn towards independence.")
