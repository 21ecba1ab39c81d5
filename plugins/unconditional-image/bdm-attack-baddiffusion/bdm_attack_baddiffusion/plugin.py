"""The plugin ``attack:baddiffusion``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from bdm_attack_baddiffusion.params import BadDiffusionParams
from bdm_core.plugin import Attack, hookimpl

if TYPE_CHECKING:
    from bdm_core.artifacts import Data, Model, Secret
    from bdm_core.context import Context
    from bdm_core.records import Backdoored


class BadDiffusion(Attack):
    """A trigger in the initial noise of an ancestral DDPM makes it paint one picture."""

    name = "baddiffusion"
    summary = "Noise-space backdoor on DDPMs with ancestral sampling (BadDiffusion)"
    tasks = frozenset({"unconditional-image-generation"})
    paper = "https://arxiv.org/abs/2212.05400"
    Params = BadDiffusionParams
    distributed = True
    presets = {
        "paper": {
            "trigger": "stop-sign",
            "target": "hat",
            "trigger_scale": 1.0,
            "poison_rate": 0.1,
            "steps": 19532,
            "batch_size": 128,
            "learning_rate": 2e-4,
            "learning_rate_schedule": "cosine",
            "warmup_steps": 500,
            "max_gradient_norm": 1.0,
            "ema_decay": None,
        },
    }

    @hookimpl
    def poison_data(
        self,
        ctx: Context,
        params: BadDiffusionParams,
        data: Data,
        split: Literal["train", "trigger"],
        secret: Secret | None,
    ) -> Data:
        from bdm_attack_baddiffusion.attack import poison
        from bdm_kit_diffusion.poison.poisoning import trigger_noise

        return poison(ctx, params, data) if secret is None else trigger_noise(ctx, data, secret)

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: BadDiffusionParams, model: Model, data: Data) -> Backdoored:
        from bdm_attack_baddiffusion.attack import backdoor

        return backdoor(ctx, params, model, data)
