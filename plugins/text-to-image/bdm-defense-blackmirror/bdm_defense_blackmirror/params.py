"""Parameters of ``defense:blackmirror``. Light: no torch, no openai."""

from __future__ import annotations

from typing import Literal

from bdm_core import Field
from bdm_kit_text_to_image.detection.params import PromptDetectorParams
from bdm_language_model.params import EndpointParams


class BlackMirrorParams(PromptDetectorParams, EndpointParams):
    """Parameters of ``defense:blackmirror``: its own, and those of an endpoint for ``oracle=model``."""

    oracle: Literal["attributes", "model"] = Field(
        "attributes",
        description="Who says what prompts ask for and pictures show: the classifier of attributes, for the small "
        "world; or a language and vision model behind an endpoint, which `model` and `base_url` name.",
    )
    classifier: str | None = Field(
        None, description="Folder of the classifier of attributes; null: the built-in one, of the small world."
    )
    images: int = Field(
        5, ge=1, le=100, description="N: pictures from the rewritten prompt by which a change is verified."
    )
    votes: int = Field(
        5, ge=1, le=25, description="K: how often a model names what a picture shows; half of the answers decide."
    )
    clean_prompts: int = Field(
        40, ge=4, le=100_000, description="Captions of the clean data on which the threshold is set."
    )
    temperature: float | None = Field(
        0.7, ge=0, le=2, description="Sampling temperature of the model's votes; null where a model takes none."
    )
    least_side: int = Field(
        256, ge=1, le=4096, description="Smaller pictures are enlarged to this side, pixel by pixel, for the model."
    )
