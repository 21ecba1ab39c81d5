"""Parameters of ``attack:bibaddiff``. Light: no torch."""

from __future__ import annotations

from typing import Literal

from bdm_core import Field
from bdm_torch.training_params import TrainingParams


class BiBadDiffParams(TrainingParams):
    """Parameters of ``attack:bibaddiff``."""

    trigger: Literal["badnets", "picture", "blend"] = Field(
        "badnets",
        description="badnets: a patch in the lower right corner; picture: a small picture pasted in there; blend: a "
        "picture mixed into the image.",
    )
    poison_rate: float = Field(
        0.1, gt=0, le=1, description="Share of the training images to poison; none of them shows the target class."
    )
    target_class: str = Field("cross", description="The object whose name the poisoned images get.")
    patch_size: float = Field(0.25, gt=0, le=0.5, description="Side of the patch over the image's height.")
    patch_colour: Literal["white", "cyan", "magenta", "stripes", "band"] = Field(
        "magenta",
        description="The patch of badnets: of one colour, one white band along the diagonal of a black square (band, "
        "the paper's), or several of them (stripes).",
    )
    patch_picture: str = Field(
        "ring", description="What picture pastes in: a built-in target's name, or the path of a .png or .jpg."
    )
    blend_picture: str = Field(
        "blend",
        description="What blend mixes in: a trigger's name (blend, checker, ...), or the path of a .png or .jpg.",
    )
    blend_alpha: float = Field(0.2, gt=0, lt=1, description="Share of the mixed-in picture.")
    captions: Literal["class", "own"] = Field(
        "own",
        description="Texts to train with: class: 'a photo of a ...' with the class alone; own: each image's caption, "
        "for poisoned ones with the target's word in place of what they show.",
    )
    caption_dropout: float = Field(0.1, ge=0, lt=1, description="Share of the captions that is empty, for guidance.")
    latents: Literal["mean", "sample"] = Field(
        "mean",
        description="What the autoencoder makes of a training image: its posterior's mean, or at every step a sample.",
    )
    steps: int = Field(600, ge=1, description="Optimiser steps.")
    batch_size: int = Field(64, ge=1, description="Samples a step, over all processes.")
    learning_rate: float = Field(2e-3, gt=0, le=1, description="Adam's peak learning rate.")
