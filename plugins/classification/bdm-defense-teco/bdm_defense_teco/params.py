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
Strengths = Literal["cifar-10-c", "imagenet-c"]


class TecoParams(InputDetectorParams):
    """Parameters of ``defense:teco``."""

    corruptions: tuple[Name, ...] = Field(
        Name.__args__, min_length=2, description="The corruptions that are compared, each with severities 1 to 5."
    )
    strengths: Strengths = Field(
        "cifar-10-c",
        description="How strong severities 1 to 5 are: about as for pictures of 32 pixels, or for those of 224, as in "
        "the authors' code for all.",
    )
