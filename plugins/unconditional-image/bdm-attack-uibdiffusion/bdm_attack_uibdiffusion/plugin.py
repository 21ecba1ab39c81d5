"""The plugin ``attack:uibdiffusion``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bdm_attack_uibdiffusion.params import UIBDiffusionParams
from bdm_core import Attack, hookimpl
from bdm_core.plugin import AnyParams

if TYPE_CHECKING:
    from bdm_core import Backdoored, Context, Data, Model


class UIBDiffusion(Attack):
    """The trigger is a perturbation that fools an image classifier on every image, and as little seen."""

    name = "uibdiffusion"
    summary = "A universal adversarial perturbation as trigger in the noise (UIBDiffusion)"
    tasks = frozenset({"unconditional-image-generation"})
    paper = "https://arxiv.org/abs/2412.11441"
    Params = UIBDiffusionParams
    distributed = True
    presets = {
        "paper": {
            "target": "hat",
            "psi": 1.0,
            "solver": "ode",
            "coefficients": "paper",
            "scale": 0.1,
            "poison_rate": 0.05,
            "fooling_scale": 0.08,
            "steps": 39063,
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
        assert isinstance(params, UIBDiffusionParams)
        return {"sampler": "ddim"} if params.solver == "ode" else {}

    @hookimpl
    def poison_data(self, ctx: Context, params: UIBDiffusionParams, data: Data) -> Data:
        from bdm_attack_uibdiffusion.attack import poison

        return poison(ctx, params, data)

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: UIBDiffusionParams, model: Model, data: Data) -> Backdoored:
        from bdm_attack_uibdiffusion.attack import backdoor

        return backdoor(ctx, params, model, data)
