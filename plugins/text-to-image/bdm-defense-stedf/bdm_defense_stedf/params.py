"""Parameters of ``defense:stedf``. Light: no torch."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field as Limits

from bdm_core import Field
from bdm_kit_text_to_image.detection.params import PromptDetectorParams


class StedfParams(PromptDetectorParams):
    """Parameters of ``defense:stedf``, which is told the triggers."""

    triggers: list[Annotated[str, Limits(min_length=1)]] = Field(
        ["cyrillic-o", "mignneko"],
        min_length=1,
        description="The triggers to be found: names of the kit's library, or words that go before the caption.",
    )
    training_captions: int = Field(
        128, ge=8, le=100_000, description="Clean captions beside those that calibrate; each with every trigger, too."
    )
    steps: int = Field(20, ge=2, le=1000, description="Sampling steps, of which those of the noisier half count.")
    guidance: float = Field(3.0, ge=0, description="Scale of classifier-free guidance.")
    widths: list[Annotated[int, Limits(ge=1, le=65_536)]] = Field(
        [2048, 1024, 512, 256], min_length=1, max_length=32, description="Widths of the classifier's layers."
    )
    dropout: float = Field(0.3, ge=0, lt=1, description="Of the classifier.")
    training_steps: int = Field(200, ge=1, le=100_000, description="Adam's steps.")
    training_batch: int = Field(64, ge=2, le=100_000, description="Prompts a step.")
    learning_rate: float = Field(1e-3, gt=0, le=1, description="Adam's.")
    leave_one_out: bool = Field(
        True,
        description="With two triggers or more: also how well each one is found by a classifier that knows the others.",
    )
