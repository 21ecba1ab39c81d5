"""Parameters of ``defense:ufid`` of the task text-to-image. Light: no torch."""

from __future__ import annotations

from typing import Literal

from bdm_core import Field
from bdm_kit_text_to_image.detection.params import PromptDetectorParams


class UfidParams(PromptDetectorParams):
    """Parameters of ``defense:ufid`` of the task text-to-image."""

    phrases: list[str] = Field(
        [], description="What is put into prompts; none of it a prompt to judge. Empty: captions of the clean data."
    )
    copies: int = Field(4, ge=1, le=100, description="Copies of each prompt, each with another phrase.")
    place: Literal["append", "prefix"] = Field(
        "append", description="Where a phrase goes: behind the prompt, or before it, as the release has it."
    )
    features: str = Field(
        "auto",
        description="Features of pictures: attributes (the small world's classifier), pixels, or a folder with a CLIP "
        "model; auto: attributes for pictures of 16x16, else pixels.",
    )
    clean_prompts: int = Field(
        40, ge=4, le=100_000, description="Captions of the clean data on which the threshold is set."
    )
