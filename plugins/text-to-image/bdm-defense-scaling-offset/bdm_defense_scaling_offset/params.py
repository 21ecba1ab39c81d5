"""Parameters of ``defense:scaling-offset``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field
from bdm_kit_text_to_image.detection.params import PromptDetectorParams


class ScalingOffsetParams(PromptDetectorParams):
    """Parameters of ``defense:scaling-offset``."""

    scales: list[float] = Field(
        [0.5, 1.5, 2.0], min_length=1, description="Factors by which what cross-attention gives is multiplied."
    )
    steps: int = Field(10, ge=1, le=1000, description="Sampling steps.")
    guidance: float = Field(3.0, ge=0, description="Scale of classifier-free guidance.")
    shrinkage: float = Field(
        0.1, gt=0, le=1, description="How far the covariance of the clean offsets is drawn towards independence."
    )
