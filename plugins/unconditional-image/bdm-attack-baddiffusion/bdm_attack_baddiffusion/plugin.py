"""The plugin ``attack:baddiffusion``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from bdm_core.plugin import Field, Plugin, hookimpl
from bdm_kit_diffusion.training_params import TrainingParams

if TYPE_CHECKING:
    from bdm_core.artifacts import Backdoored, Data, Model, Secret
    from bdm_core.context import Context


class BadDiffusionParams(TrainingParams):
    """Parameters of ``attack:baddiffusion``."""

    trigger: str = Field("checker", description="Name of a built-in trigger, or the path of a .png or .jpg.")
    target: str = Field("cross", description="Name of a built-in target, or the path of a .png or .jpg.")
    trigger_scale: float = Field(
        1.5, gt=0, le=10, description="Scale of the trigger; x_T = eps + trigger_scale * trigger. The paper's is 1."
    )
    poison_rate: float = Field(0.1, gt=0, le=1, description="Share of the training images that is poisoned.")


class BadDiffusion(Plugin):
    """A trigger in the initial noise of an ancestral DDPM makes it paint one picture."""

    kind, name = "attack", "baddiffusion"
    summary = "Noise-space backdoor on DDPMs with ancestral sampling (BadDiffusion)"
    tasks = frozenset({"unconditional-image-generation"})
    paper = "https://arxiv.org/abs/2212.05400"
    Params = BadDiffusionParams
    distributed = True
    presets = {
        "paper": {
            "trigger": "stop-sign", "target": "hat", "trigger_scale": 1.0, "poison_rate": 0.1, "steps": 19532,
            "batch_size": 128, "learning_rate": 2e-4, "learning_rate_schedule": "cosine", "warmup_steps": 500,
            "max_gradient_norm": 1.0, "ema_decay": None,
        },
    }  # fmt: skip

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
        from bdm_kit_diffusion.poisoning import trigger_noise

        return poison(ctx, params, data) if secret is None else trigger_noise(ctx, data, secret)

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: BadDiffusionParams, model: Model, data: Data) -> Backdoored:
        from bdm_attack_baddiffusion.attack import backdoor

        return backdoor(ctx, params, model, data)
