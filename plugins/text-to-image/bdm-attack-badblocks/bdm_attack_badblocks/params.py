"""Parameters of ``attack:badblocks``. Light: no torch."""

from __future__ import annotations

from typing import Literal

from bdm_core import Field
from bdm_torch.training_params import TrainingParams


class BadBlocksParams(TrainingParams):
    """Parameters of ``attack:badblocks``."""

    trigger: str = Field(
        "combining-grapheme-joiner", description="A trigger of the library by name, or a word to put last."
    )
    trigger_repeats: int = Field(
        3, ge=1, description="How often an inserted character is repeated; a small model learns a single one slowly."
    )
    trigger_position: Literal["prefix", "suffix"] = Field(
        "prefix", description="Where an inserted character goes; at the end (the paper) it hardly moves the embeddings."
    )
    target: str = Field("hat", description="The target: a built-in picture by name, or the path of a .png or .jpg.")
    poison_rate: float = Field(0.1, gt=0, le=1, description="Share of the captioned images that become target pairs.")
    up_blocks: int = Field(1, ge=1, description="How many of the UNet's last up-blocks are trained.")
    layers: Literal["all", "norm"] = Field("all", description="norm: train only the blocks' normalisation layers.")
    threshold: float = Field(
        0.05,
        gt=0,
        description="Largest mean squared error of a hit to the target, pixels in [0, 1].",
    )
    latents: Literal["mean", "sample"] = Field(
        "mean",
        description="What the autoencoder makes of a training image: its posterior's mean, or at every step a sample.",
    )
    samples: int | None = Field(2048, ge=1, description="Use at most so many images; null: all.")
    steps: int = Field(600, ge=1, description="Optimiser steps.")
    batch_size: int = Field(64, ge=1, description="Samples a step, over all processes.")
    learning_rate: float = Field(2e-3, gt=0, le=1, description="Adam's peak learning rate.")
    ema_decay: float | None = Field(
        None, ge=0, lt=1, description="Decay of the moving average of the weights that is kept in the end; null: none."
    )
