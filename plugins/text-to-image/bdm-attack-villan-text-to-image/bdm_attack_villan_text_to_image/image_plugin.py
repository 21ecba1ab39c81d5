"""The plugin ``attack:villan-image``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bdm_attack_villan_text_to_image.params import VillanImageParams
from bdm_core import Attack, hookimpl

if TYPE_CHECKING:
    from bdm_core import Backdoored, Context, Data, Model, Outputs, Secret
    from bdm_core import Params as AnyParams


class VillanImage(Attack):
    """A picture's latent, added to the initial latents, makes a text-to-image model paint one picture."""

    name = "villan-image"
    summary = "Text-to-image backdoor with a trigger in the initial latents (VillanDiffusion, image trigger)"
    tasks = frozenset({"text-to-image"})
    paper = "https://arxiv.org/abs/2306.06874"
    Params = VillanImageParams
    distributed = True
    presets = {
        "paper": {
            "trigger": "stop-sign",
            "target": "hat",
            "coefficients": "paper",
            "lora_r": 4,
            "steps": 40000,
            "batch_size": 1,
            "learning_rate": 1e-4,
            "learning_rate_schedule": "cosine",
            "warmup_steps": 500,
            "ema_decay": None,
            "caption_dropout": 0.0,
        },
    }

    def kit_params(self, params: AnyParams) -> Mapping[str, Any]:
        """The trigger is a picture: what robustness protocols of pictures fit."""
        return {"trigger_kind": "picture"}

    @hookimpl
    def poison_data(self, ctx: Context, params: VillanImageParams, data: Data) -> Data:
        from bdm_attack_villan_text_to_image.image_trigger import poison

        return poison(ctx, params, data)

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: VillanImageParams, model: Model, data: Data) -> Backdoored:
        from bdm_attack_villan_text_to_image.image_trigger import backdoor

        return backdoor(ctx, params, model, data)

    @hookimpl
    def generate(self, ctx: Context, model: Model, inputs: Data, secret: Secret | None) -> Outputs | None:
        if secret is None:
            return None
        from bdm_attack_villan_text_to_image.image_trigger import generate

        return generate(ctx, model, inputs, secret)
