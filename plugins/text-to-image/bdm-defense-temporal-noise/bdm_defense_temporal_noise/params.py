"""Parameters of ``defense:temporal-noise``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field
from bdm_kit_text_to_image.detection.params import PromptDetectorParams


class TemporalNoiseParams(PromptDetectorParams):
    """Parameters of ``defense:temporal-noise``."""

    steps: int = Field(20, ge=3, le=1000, description="Sampling steps.")
    guidance: float = Field(3.0, ge=0, description="Scale of classifier-free guidance.")
    shrinkage: float = Field(
        0.1, gt=0, le=1, description="How far the covariance of the clean profiles is drawn towards independence."
    )
