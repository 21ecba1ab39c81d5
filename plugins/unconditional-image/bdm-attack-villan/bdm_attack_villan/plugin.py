"""The plugin ``attack:villan``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bdm_attack_villan.params import VillanParams
from bdm_core import Attack, hookimpl
from bdm_core.plugin import AnyParams

if TYPE_CHECKING:
    from bdm_core import Backdoored, Context, Data, Model


class Villan(Attack):
    """A trigger in the initial noise makes the model paint one picture."""

    name = "villan"
    summary = "One picture for a trigger in the noise, for SDE or ODE samplers (VillanDiffusion)"
    tasks = frozenset({"unconditional-image-generation"})
    paper = "https://arxiv.org/abs/2306.06874"
    Params = VillanParams
    distributed = True
    presets = {
        "paper": {
            "trigger": "stop-sign",
            "target": "hat",
            "psi": 1.0,
            "solver": "ode",
            "coefficients": "paper",
            "vp_scale": 1.0,
            "poison_rate": 0.2,
            "dataset_mode": "fixed",
            "R_trigger_only": False,
            "steps": 39063,
            "batch_size": 128,
            "learning_rate": 2e-4,
            "learning_rate_schedule": "cosine",
            "warmup_steps": 500,
            "max_gradient_norm": 1.0,
            "ema_decay": None,
        },
        "paper-ve": {
            "trigger": "stop-sign",
            "target": "hat",
            "psi": 0.0,
            "solver": "sde",
            "vp_scale": 1.0,
            "poison_rate": 9.0,
            "dataset_mode": "extend",
            "R_trigger_only": True,
            "steps": 39063,
            "batch_size": 128,
            "learning_rate": 2e-5,
            "learning_rate_schedule": "cosine",
            "warmup_steps": 500,
            "max_gradient_norm": 1.0,
            "ema_decay": None,
        },
    }

    def kit_params(self, params: AnyParams) -> Mapping[str, Any]:
        """The sampler of the class that the backdoor is made for."""
        assert isinstance(params, VillanParams)
        return {"sampler": "ddim"} if params.solver == "ode" else {}

    @hookimpl
    def poison_data(self, ctx: Context, params: VillanParams, data: Data) -> Data:
        from bdm_attack_villan.attack import poison

        return poison(ctx, params, data)

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: VillanParams, model: Model, data: Data) -> Backdoored:
        from bdm_attack_villan.attack import backdoor

        return backdoor(ctx, params, model, data)
