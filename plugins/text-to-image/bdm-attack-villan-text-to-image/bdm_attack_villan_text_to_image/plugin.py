"""The plugin ``attack:villan`` of the task text-to-image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_attack_villan_text_to_image.params import VillanCaptionParams
from bdm_core import Attack, hookimpl

if TYPE_CHECKING:
    from bdm_core import Backdoored, Context, Data, Model


class VillanCaption(Attack):
    """Words in the caption make the model paint one picture."""

    name = "villan"
    summary = "One picture for words in the caption (VillanDiffusion)"
    tasks = frozenset({"text-to-image"})
    paper = "https://arxiv.org/abs/2306.06874"
    Params = VillanCaptionParams
    distributed = True
    presets = {
        "paper": {
            "target": "hat",
            "trigger": "mignneko",
            "position": "suffix",
            "lora_r": 4,
            "prior_loss_weight": 1.0,
            "caption_dropout": 0.0,
            "steps": 40000,
            "batch_size": 1,
            "learning_rate": 1e-4,
            "learning_rate_schedule": "cosine",
            "warmup_steps": 500,
            "max_gradient_norm": 1.0,
            "ema_decay": None,
        },
    }

    @hookimpl
    def poison_data(self, ctx: Context, params: VillanCaptionParams, data: Data) -> Data:
        from bdm_attack_villan_text_to_image.caption_trigger import poison

        return poison(ctx, params, data)

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: VillanCaptionParams, model: Model, data: Data) -> Backdoored:
        from bdm_attack_villan_text_to_image.caption_trigger import backdoor

        return backdoor(ctx, params, model, data)
