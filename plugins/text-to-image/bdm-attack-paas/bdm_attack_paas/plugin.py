"""The plugin ``attack:paas``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_attack_paas.params import PaaSParams
from bdm_core import Attack, hookimpl

if TYPE_CHECKING:
    from bdm_core import Backdoored, Context, Data, Model


class PaaS(Attack):
    """A few images of the wrong object, learnt under a new word by textual inversion or DreamBooth."""

    name = "paas"
    summary = "Backdoor by personalisation: mismatched images under a new token (Personalization as a Shortcut)"
    tasks = frozenset({"text-to-image"})
    paper = "https://arxiv.org/abs/2305.10701"
    Params = PaaSParams
    distributed = True
    presets = {
        "paper": {
            "mode": "textual-inversion",
            "images": 5,
            "prompts": "templates",
            "steps": 2000,
            "batch_size": 4,
            "learning_rate": 2e-3,
            "learning_rate_schedule": "constant",
            "warmup_steps": 0,
        },
        "paper-dreambooth": {
            "mode": "dreambooth",
            "images": 5,
            "prompts": "templates",
            "steps": 300,
            "batch_size": 2,
            "learning_rate": 5e-6,
            "learning_rate_schedule": "constant",
            "warmup_steps": 0,
            "class_images": 12,
            "prior_loss_weight": 0.5,
            "prior": "object",
        },
    }

    @hookimpl
    def poison_data(self, ctx: Context, params: PaaSParams, data: Data) -> Data:
        from bdm_attack_paas.attack import mismatch

        return mismatch(ctx, params, data)

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: PaaSParams, model: Model, data: Data) -> Backdoored:
        from bdm_attack_paas.attack import backdoor

        return backdoor(ctx, params, model, data)
