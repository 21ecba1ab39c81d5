"""Parameters of ``attack:trojdiff``. Light: no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import field_validator

from bdm_core.plugin import Field
from bdm_torch.pictures.names import TARGET
from bdm_torch.training_params import TrainingParams


class TrojDiffParams(TrainingParams):
    """Parameters of ``attack:trojdiff``."""

    variant: Literal["trojan", "agnostic"] = Field(
        "trojan",
        description="trojan: as published, works only with the attacker's own DDPM or DDIM sampler; agnostic: the same "
        "shift with a target that every deterministic sampler follows.",
    )
    trigger_type: Literal["blend", "patch"] = Field(
        "blend", description="blend: the trigger covers the whole noise; patch: a white square at its lower right."
    )
    trigger: str = Field(
        "checker", description="For type blend: name of a built-in trigger, or the path of a .png or .jpg."
    )
    patch_size: int = Field(
        0,
        ge=0,
        description="For type patch: side of the square in pixels; 0: a tenth of the image's side, at least 3 "
        "for colour and 5 for grey images, so that the patch has as many values as the published one.",
    )
    gamma: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Standard deviation of the noise under the trigger, mean (1 - gamma) trigger; null: 0.3 for blend, "
        "0.1 for patch. The agnostic variant has deviation 1 and mean trigger.",
    )
    mode: Literal["d2i", "in-d2d", "out-d2d"] = Field(
        "d2i",
        description="What the model is to paint. d2i: one picture; in-d2d: a class of the training data; out-d2d: "
        "a class of another data set.",
    )
    target: str = Field("cross", description=f"For d2i. {TARGET}")
    target_class: str = Field(
        "7", description="For in-d2d and out-d2d: name or label of the class, e.g. 7 of the digits, ring of the shapes."
    )
    target_data: Literal["digits", "shapes"] | None = Field(
        None, description="For out-d2d: the class's data set; null: shapes for grey models, digits for colour."
    )
    classifier: str | None = Field(
        None,
        description="For in-d2d and out-d2d: folder of a classifier that recognises the class, for the success rate; "
        "null: the kit's, which knows the digits and the shapes.",
    )
    poison_rate: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Share of the training images that is poisoned; null: 0.1 for d2i, 0.2 for "
        "in-d2d, 0.3 for out-d2d: a class is more to learn than a picture, and another data set's the most.",
    )
    steps: int | None = Field(None, ge=1, description="Optimiser steps; null: 1000 for d2i, 1500 for classes.")

    @field_validator("target_class", mode="before")
    @classmethod
    def _number_as_text(cls, value: object) -> object:
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value
