"""Parameters of ``defense:t2ishield``. Light: no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from bdm_core import Field
from bdm_kit_text_to_image.detection.params import PromptDetectorParams


class T2IShieldParams(PromptDetectorParams):
    """Parameters of ``defense:t2ishield``."""

    method: Literal["ftt", "cda"] = Field(
        "ftt", description="ftt: distance of the maps to their mean; cda: their spectrum against that of clean prompts."
    )
    steps: int = Field(20, ge=1, le=1000, description="Sampling steps over which maps are averaged, and of pictures.")
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
    word_noise: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of each prompt's words that another word of the clean captions replaces before it is "
        "measured: detection under word noise.",
    )
    localise: bool = Field(True, description="detect: find the trigger in flagged prompts, for the evidence.")
    most_localised: int = Field(24, ge=1, le=10_000, description="Flagged prompts in which the trigger is looked for.")
    contrast: Literal["auto", "removal", "seed", "reference", "none"] = Field(
        "auto",
        description="What a part of a prompt must do more than: removal, its absence from the prompt; seed, itself "
        "from another noise; reference, itself in a clean model; none, as published. auto: reference if there is one, "
        "else removal.",
    )
    reference: str = Field("", description="A clean model for contrast=reference: small-world, or a folder.")
    similarity: float = Field(
        0.5,
        gt=0,
        le=1,
        description="A part paints the prompt's picture if it scores more than this share of the whole prompt's score; "
        "with contrast=none this is the paper's tau, .8.",
    )
    similarity_captions: int = Field(
        24, ge=4, le=10_000, description="Clean captions for the mean of the features, and for contrast=reference."
    )
    features: str = Field(
        "auto",
        description="Features of pictures: attributes (the small world's classifier), pixels, or a folder with a CLIP "
        "model; auto: attributes for pictures of 16x16, else pixels.",
    )
    triggers: list[str] = Field([], description="repair: remove these, instead of what was localised.")
    least_share: float = Field(
        0.3, gt=0, le=1, description="repair: a trigger is what so many of the localised parts have in common."
    )
    edit_captions: int = Field(256, ge=1, le=100_000, description="repair: captions with the trigger.")
    preserved_captions: int = Field(
        512, ge=256, le=100_000, description="repair: captions whose keys and values are to stay, as far as there are."
    )
    edit_weight: float = Field(20.0, gt=0, description="repair: weight of the trigger's rows against a preserved one.")
    regularisation: float = Field(0.1, gt=0, description="repair: weight of |W' - W|^2.")

    @model_validator(mode="after")
    def _reference_for_contrast(self) -> T2IShieldParams:
        if self.contrast == "reference" and not self.reference:
            raise ValueError("contrast=reference needs reference, a clean model: small-world, or a folder")
        return self
