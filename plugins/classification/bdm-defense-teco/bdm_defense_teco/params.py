"""Parameters of ``defense:teco``. Light: no torch."""

from __future__ import annotations

from typing import Literal

from bdm_core import Field
from bdm_kit_classification.defending.params import InputDetectorParams

Name = Literal[
    "gaussian-noise",
    "shot-noise",
    "impulse-noise",
    "defocus-blur",
    "glass-blur",
    "motion-blur",
    "zoom-blur",
    "snow",
    "frost",
    "fog",
    "brightness",
    "contrast",
    "elastic",
    "pixelate",
    "jpeg",
]


class TecoParams(InputDetectorParams):
    """Parameters of ``defense:teco``."""

    corruptions: tuple[Name, ...] = Field(
        Name.__args__, min_length=2, description="The corruptions that are compared, each with severities 1 to 5."
    )
