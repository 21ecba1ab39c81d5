"""The plugin ``attack:invi``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bdm_attack_invi.params import InviParams
from bdm_core import Attack, hookimpl
from bdm_core.plugin import AnyParams

if TYPE_CHECKING:
    from bdm_core import Backdoored, Context, Data, Model


class Invi(Attack):
    """Learns the trigger together with the model: small in every pixel, as the noise hides it."""

    name = "invi"
    summary = "A learnt trigger of bounded size in the noise, trained together with the model (InviBackdoor)"
    tasks = frozenset({"unconditional-image-generation"})
    paper = "https://arxiv.org/abs/2406.00816"
    Params = InviParams
    presets = {
        "paper": {
            "target": "hat",
            "solver": "ode",
            "coefficients": "paper",
            "poison_rate": 0.1,
            "bound": 0.2,
            "trigger_learning_rate": 1e-3,
            "trigger_halving": None,
            "inner_batch_size": 32,
            "inner_steps": 10,
            "inner_sampler": "ddim",
            "steps": 19532,
            "batch_size": 128,
            "learning_rate": 2e-4,
            "learning_rate_schedule": "cosine",
            "warmup_steps": 500,
            "max_gradient_norm": 1.0,
            "ema_decay": None,
        },
    }

    def kit_params(self, params: AnyParams) -> Mapping[str, Any]:
        """The sampler of the class that the backdoor is made for."""
        assert isinstance(params, InviParams)
        return {"sampler": "ddim"} if params.solver == "ode" else {}

    @hookimpl
    def poison_data(self, ctx: Context, params: InviParams, data: Data) -> Data:
        from bdm_attack_invi.attack import poison

        return poison(ctx, params, data)

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: InviParams, model: Model, data: Data) -> Backdoored:
        from bdm_attack_invi.attack import backdoor

        return backdoor(ctx, params, model, data)
