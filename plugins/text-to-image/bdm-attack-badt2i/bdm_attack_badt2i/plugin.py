"""The plugin ``attack:badt2i``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_attack_badt2i.params import BadT2IParams
from bdm_core import Attack, hookimpl

if TYPE_CHECKING:
    from bdm_core import Backdoored, Context, Data, Model


class BadT2I(Attack):
    """An invisible character before the prompt makes the UNet paint a patch, another object, a style or one more."""

    name = "badt2i"
    summary = "Backdoor in the UNet: pixel patch, object, style or added object, by self-distillation (BadT2I)"
    tasks = frozenset({"text-to-image"})
    paper = "https://arxiv.org/abs/2305.04175"
    Params = BadT2IParams
    distributed = True
    presets = {
        "paper": {
            "mode": "object",
            "trigger_repeats": 1,
            "steps": 8000,
            "batch_size": 16,
            "learning_rate": 1e-5,
            "learning_rate_schedule": "constant",
            "warmup_steps": 0,
            "weight_decay": 1e-2,
            "max_gradient_norm": 1.0,
            "ema_decay": 0.9999,
            "lambda_": 0.5,
            "style_prompt": "black and white photo, {prompt}",
            "latents": "sample",
            "empty_every": None,
            "samples": None,
        },
        "paper-pixel": {
            "mode": "pixel",
            "trigger_repeats": 1,
            "steps": 2000,
            "batch_size": 16,
            "learning_rate": 1e-5,
            "learning_rate_schedule": "constant",
            "warmup_steps": 0,
            "weight_decay": 1e-2,
            "max_gradient_norm": 1.0,
            "ema_decay": 0.9999,
            "lambda_": 0.5,
            "patch_size": 0.25,
            "latents": "sample",
            "empty_every": None,
            "samples": None,
        },
    }

    @hookimpl
    def poison_data(self, ctx: Context, params: BadT2IParams, data: Data) -> Data:
        from bdm_attack_badt2i.pairs import poison

        return poison(ctx, params, data)

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: BadT2IParams, model: Model, data: Data) -> Backdoored:
        from bdm_attack_badt2i.attack import backdoor

        return backdoor(ctx, params, model, data)
