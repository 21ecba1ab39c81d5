"""Parameters of ``defense:text-to-image-audit``. Light: no torch."""

from __future__ import annotations

from typing import Literal

from bdm_core import Field
from bdm_torch.training_params import TrainingParams


class TextToImageAuditParams(TrainingParams):
    """Parameters of ``defense:text-to-image-audit``."""

    rare_words: int = Field(40, ge=0, le=10_000, description="Made-up words to try.", calibrated=True)
    adjectives: int = Field(25, ge=0, le=10_000, description="Words before nouns to try.", calibrated=True)
    captions: int = Field(8, ge=3, le=1000, description="Captions into which characters are put.", calibrated=True)
    steps_of_pictures: int = Field(5, ge=1, le=1000, description="Sampling steps of a picture.", calibrated=True)
    guidance: float = Field(3.0, ge=0, description="Scale of classifier-free guidance.", calibrated=True)
    seeds: int = Field(
        9,
        ge=2,
        le=100,
        description="Seeds from which an object must be painted as the same other one.",
        calibrated=True,
    )
    false_positive_rate: float = Field(0.05, gt=0, lt=0.5, description="Of the whole verdict, for clean models.")
    calibration: str = Field("", description="Calibration file of clean models; empty: the one that is shipped.")
    reference: str = Field(
        "", description="The public base that the model was made from: small-world, or a folder; empty: none is known."
    )
    removal: Literal["auto", "tokens", "spikes", "edit", "text-encoder", "unet"] = Field(
        "auto",
        description="repair: tokens, give added ones that change objects the meaning of the object in their name; "
        "spikes, take them out of keys and values; edit, keys and values of a trigger that was found become those of "
        "the prompt without it, in closed form; text-encoder and unet, teach them so; auto: tokens, and if there are "
        "other triggers or none, spikes, then text-encoder if a trigger works there, else edit if there were spikes, "
        "else unet.",
    )
    spike_limit: float = Field(
        2.0, gt=1, description="repair: a spike is a singular value above so many times the median one."
    )
    steps: int = Field(150, ge=1, description="repair: optimiser steps.")
    batch_size: int = Field(32, ge=1, description="repair: captions a step, clean and triggered each.")
    learning_rate: float = Field(5e-4, gt=0, le=1, description="repair: peak learning rate.")
    edit_weight: float = Field(20.0, gt=0, description="edit: weight of the trigger's rows against a preserved one.")
    edit_captions: int = Field(256, ge=1, le=100_000, description="edit: captions with the trigger.")
    preserved_captions: int = Field(512, ge=1, le=100_000, description="edit: captions whose keys and values stay.")
    regularisation: float = Field(0.1, gt=0, description="edit: weight of |W' - W|^2.")
