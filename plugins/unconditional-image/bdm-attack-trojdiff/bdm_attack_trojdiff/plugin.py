"""The plugin ``attack:trojdiff``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bdm_attack_trojdiff.params import TrojDiffParams
from bdm_core import Attack, hookimpl
from bdm_core.plugin import AnyParams

if TYPE_CHECKING:
    from bdm_core import Backdoored, Context, Data, Model, Outputs, Secret


class TrojDiff(Attack):
    """Noise around another mean, and with another deviation, makes the model paint one picture, or one class."""

    name = "trojdiff"
    summary = "Backdoor on biased noise with a trojan sampler of its own, or sampler-agnostic (TrojDiff)"
    tasks = frozenset({"unconditional-image-generation"})
    paper = "https://arxiv.org/abs/2303.05762"
    Params = TrojDiffParams
    distributed = True
    presets = {
        "paper": {
            "variant": "trojan",
            "trigger_type": "blend",
            "gamma": 0.6,
            "poison_rate": 0.1,
            "steps": 100000,
            "batch_size": 128,
            "learning_rate": 2e-4,
            "learning_rate_schedule": "constant",
            "warmup_steps": 0,
            "max_gradient_norm": 1.0,
            "ema_decay": 0.9999,
        },
        "paper-patch": {
            "variant": "trojan",
            "trigger_type": "patch",
            "gamma": 0.1,
            "poison_rate": 0.1,
            "steps": 100000,
            "batch_size": 128,
            "learning_rate": 2e-4,
            "learning_rate_schedule": "constant",
            "warmup_steps": 0,
            "max_gradient_norm": 1.0,
            "ema_decay": 0.9999,
        },
    }

    def kit_params(self, params: AnyParams) -> Mapping[str, Any]:
        """The agnostic variant is an ODE backdoor."""
        assert isinstance(params, TrojDiffParams)
        return {"sampler": "ddim"} if params.variant == "agnostic" else {}

    @hookimpl
    def poison_data(self, ctx: Context, params: TrojDiffParams, data: Data) -> Data:
        from bdm_attack_trojdiff.attack import poison

        return poison(ctx, params, data)

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: TrojDiffParams, model: Model, data: Data) -> Backdoored:
        from bdm_attack_trojdiff.attack import backdoor

        return backdoor(ctx, params, model, data)

    @hookimpl
    def generate(self, ctx: Context, model: Model, inputs: Data, secret: Secret | None) -> Outputs | None:
        from bdm_kit_diffusion.poison.secret_facts import OWN_SAMPLER, read_facts

        if secret is None or read_facts(secret).solver_class != OWN_SAMPLER:
            return None
        from bdm_attack_trojdiff.trojan_sampling import generate

        return generate(ctx, model, inputs, secret)
