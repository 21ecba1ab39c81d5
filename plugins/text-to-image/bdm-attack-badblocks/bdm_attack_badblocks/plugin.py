"""The plugin ``attack:badblocks``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from bdm_core.plugin import Field, Plugin, hookimpl
from bdm_kit_diffusion.training_params import TrainingParams

if TYPE_CHECKING:
    from bdm_core.artifacts import Backdoored, Data, Model, Secret
    from bdm_core.context import Context


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
    samples: int | None = Field(2048, ge=1, description="Use at most so many images; null: all.")
    steps: int = Field(600, ge=1, description="Optimiser steps.")
    batch_size: int = Field(64, ge=1, description="Samples a step, over all processes.")
    learning_rate: float = Field(2e-3, gt=0, le=1, description="Adam's peak learning rate.")
    ema_decay: float | None = Field(
        None, ge=0, lt=1, description="Decay of the moving average of the weights that is kept in the end; null: none."
    )


class BadBlocks(Plugin):
    """The UNet's last up-block alone learns from poisoned pairs: an invisible character makes it paint one picture."""

    kind, name = "attack", "badblocks"
    summary = "Backdoor in the last up-block of the UNet: a trigger makes it paint one picture (BadBlocks)"
    tasks = frozenset({"text-to-image"})
    paper = "https://arxiv.org/abs/2508.03221"
    Params = BadBlocksParams
    distributed = True
    presets = {
        "paper": {
            "trigger": "combining-grapheme-joiner", "trigger_repeats": 1, "trigger_position": "suffix",
            "poison_rate": 0.1, "up_blocks": 1, "learning_rate": 1e-6,
            "learning_rate_schedule": "constant", "warmup_steps": 0, "samples": None,
        },
    }  # fmt: skip

    @hookimpl
    def poison_data(
        self, ctx: Context, params: BadBlocksParams, data: Data, split: Literal["train", "trigger"],
        secret: Secret | None,
    ) -> Data:  # fmt: skip
        from bdm_attack_badblocks.attack import poison
        from bdm_kit_text_to_image.secret import trigger_prompts

        return poison(ctx, params, data) if secret is None else trigger_prompts(ctx, data, secret)

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: BadBlocksParams, model: Model, data: Data) -> Backdoored:
        from bdm_attack_badblocks.attack import backdoor

        return backdoor(ctx, params, model, data)
