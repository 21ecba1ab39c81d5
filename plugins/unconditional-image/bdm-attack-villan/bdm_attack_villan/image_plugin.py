"""The plugin ``attack:villan-image``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from bdm_core.plugin import Field, Plugin, hookimpl
from bdm_kit_diffusion.training_params import TrainingParams

if TYPE_CHECKING:
    from bdm_core.artifacts import Backdoored, Data, Model, Outputs, Secret
    from bdm_core.context import Context


class VillanImageParams(TrainingParams):
    """Parameters of ``attack:villan-image``."""

    trigger: str = Field("checker", description="Name of a built-in trigger, or the path of a .png or .jpg.")
    target: str = Field("hat", description="Name of a built-in target, or the path of a .png or .jpg.")
    psi: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Shift of the noisy latent, rho = psi (1 - a) + (1 - psi) s: BadDiffusion's is 1, TrojDiff's 0.",
    )
    coefficients: Literal["exact", "paper"] = Field(
        "exact", description="Training target's shift R for ODE samplers: exact, or as the authors' code has it."
    )
    vp_scale: float = Field(1.0, gt=0, le=10, description="Scale of the trigger's latent.")
    lora_r: int | None = Field(None, ge=1, description="Rank of the LoRA that is trained; null: all of the UNet.")
    prior_loss_weight: float = Field(1.0, ge=0, description="eta, the weight of the loss on clean samples.")
    caption_dropout: float = Field(0.1, ge=0, lt=1, description="Share of the captions that is empty, for guidance.")
    steps: int = Field(500, ge=1, description="Optimiser steps.")
    batch_size: int = Field(32, ge=1, description="Pairs of triggered and clean samples a step.")
    learning_rate: float = Field(5e-4, gt=0, le=1, description="Adam's peak learning rate.")


class VillanImage(Plugin):
    """A picture's latent, added to the initial latents, makes a text-to-image model paint one picture."""

    kind, name = "attack", "villan-image"
    summary = "Text-to-image backdoor with a trigger in the initial latents (VillanDiffusion, image trigger)"
    tasks = frozenset({"text-to-image"})
    paper = "https://arxiv.org/abs/2306.06874"
    Params = VillanImageParams
    distributed = True
    presets = {
        "paper": {
            "trigger": "stop-sign", "target": "hat", "coefficients": "paper", "lora_r": 4, "steps": 40000,
            "batch_size": 1, "learning_rate": 1e-4, "learning_rate_schedule": "cosine", "warmup_steps": 500,
            "ema_decay": None, "caption_dropout": 0.0,
        },
    }  # fmt: skip

    @hookimpl
    def poison_data(
        self,
        ctx: Context,
        params: VillanImageParams,
        data: Data,
        split: Literal["train", "trigger"],
        secret: Secret | None,
    ) -> Data:
        from bdm_attack_villan.image_trigger import poison
        from bdm_kit_text_to_image.secret import trigger_prompts

        return poison(ctx, params, data) if secret is None else trigger_prompts(ctx, data, secret)

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: VillanImageParams, model: Model, data: Data) -> Backdoored:
        from bdm_attack_villan.image_trigger import backdoor

        return backdoor(ctx, params, model, data)

    @hookimpl
    def generate(self, ctx: Context, model: Model, inputs: Data, secret: Secret | None) -> Outputs | None:
        if secret is None:
            return None
        from bdm_attack_villan.image_trigger import generate

        return generate(ctx, model, inputs, secret)
