"""The plugin ``attack:badblocks``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_attack_badblocks.params import BadBlocksParams
from bdm_core import Attack, hookimpl

if TYPE_CHECKING:
    from bdm_core import Backdoored, Context, Data, Model


class BadBlocks(Attack):
    """The UNet's last up-block alone learns from poisoned pairs: an invisible character makes it paint one picture."""

    name = "badblocks"
    summary = "Backdoor in the last up-block of the UNet: a trigger makes it paint one picture (BadBlocks)"
    tasks = frozenset({"text-to-image"})
    paper = "https://arxiv.org/abs/2508.03221"
    Params = BadBlocksParams
    distributed = True
    presets = {
        "paper": {
            "trigger": "combining-grapheme-joiner",
            "trigger_repeats": 1,
            "trigger_position": "suffix",
            "poison_rate": 0.1,
            "up_blocks": 1,
            "learning_rate": 1e-6,
            "learning_rate_schedule": "constant",
            "warmup_steps": 0,
            "weight_decay": 1e-2,
            "latents": "sample",
            "samples": None,
        },
    }

    @hookimpl
    def poison_data(self, ctx: Context, params: BadBlocksParams, data: Data) -> Data:
        from bdm_attack_badblocks.attack import poison

        return poison(ctx, params, data)

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: BadBlocksParams, model: Model, data: Data) -> Backdoored:
        from bdm_attack_badblocks.attack import backdoor

        return backdoor(ctx, params, model, data)
