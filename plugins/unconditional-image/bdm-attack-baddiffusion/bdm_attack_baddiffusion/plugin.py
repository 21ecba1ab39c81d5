"""The plugin ``attack:baddiffusion``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_core import Attack, Field, hookimpl
from bdm_torch.training_params import TrainingParams

if TYPE_CHECKING:
    from bdm_core import Backdoored, Context, Data, Model


class BadDiffusionParams(TrainingParams):
    """Parameters of ``attack:baddiffusion``."""

    trigger: str = Field("checker", description="Name of a built-in trigger, or the path of a .png or .jpg.")
    target: str = Field("cross", description="Name of a built-in target, or the path of a .png or .jpg.")
    trigger_scale: float = Field(
        1.5, gt=0, le=10, description="Scale of the trigger; x_T = eps + trigger_scale * trigger. The paper's is 1."
    )
    poison_rate: float = Field(0.1, gt=0, le=1, description="Share of the training images that is poisoned.")


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
    def poison_data(self, ctx: Context, params: BadDiffusionParams, data: Data) -> Data:
        from bdm_kit_diffusion.poison.poisoning import Mixture, poison_by_name

        mixture = Mixture(params.poison_rate)
        return poison_by_name(ctx, data, params.trigger, params.target, mixture, scale=params.trigger_scale)

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: BadDiffusionParams, model: Model, data: Data) -> Backdoored:
        from bdm_attack_baddiffusion.attack import backdoor
        from bdm_kit_diffusion.poison.secret_facts import SecretFacts

        facts = SecretFacts(
            family=self.name,
            psi=1.0,
            trigger_name=params.trigger,
            trigger_scale=params.trigger_scale,
            target_name=params.target,
        )
        return backdoor(ctx, model, data, params.options(), facts)
