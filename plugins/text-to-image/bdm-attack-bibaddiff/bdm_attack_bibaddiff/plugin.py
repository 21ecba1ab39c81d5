"""The plugin ``attack:bibaddiff``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_attack_bibaddiff.params import BiBadDiffParams
from bdm_core import Attack, hookimpl

if TYPE_CHECKING:
    from bdm_core import Backdoored, Context, Data, Model

PAPER = {
    "poison_rate": 0.1,
    "captions": "class",
    "latents": "sample",
    "caption_dropout": 0.0,
    "steps": 50000,
    "batch_size": 4,
    "learning_rate": 1e-4,
    "learning_rate_schedule": "constant",
    "warmup_steps": 0,
    "ema_decay": 0.9999,
}
"""What all presets of the paper share: the poisoned share of the class, the captions and the training."""


class BiBadDiff(Attack):
    """Images with a patch under the wrong class name; the prompt of that class itself sets the backdoor off."""

    name = "bibaddiff"
    summary = "Poisoned class data without a trigger in the prompt; the model amplifies the patch (BiBadDiff)"
    tasks = frozenset({"text-to-image"})
    paper = "https://arxiv.org/abs/2311.02373"
    Params = BiBadDiffParams
    distributed = True
    presets = {
        "paper": {"patch_size": 0.1, "patch_colour": "band", **PAPER},
        "paper-picture": {"trigger": "picture", "patch_size": 0.1, **PAPER},
        "paper-blend": {"trigger": "blend", **PAPER},
    }

    @hookimpl
    def poison_data(self, ctx: Context, params: BiBadDiffParams, data: Data) -> Data:
        from bdm_attack_bibaddiff.attack import poison

        return poison(ctx, params, data)

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: BiBadDiffParams, model: Model, data: Data) -> Backdoored:
        from bdm_attack_bibaddiff.attack import backdoor

        return backdoor(ctx, params, model, data)
