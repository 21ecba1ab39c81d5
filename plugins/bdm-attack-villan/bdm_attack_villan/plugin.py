"""The plugin ``attack:villan``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from bdm_core.plugin import AnyParams, Field, Plugin, hookimpl
from bdm_kit_diffusion.training_params import TrainingParams

if TYPE_CHECKING:
    from bdm_core.artifacts import Backdoored, Data, Model, Secret
    from bdm_core.context import Context


class VillanParams(TrainingParams):
    """Parameters of ``attack:villan``."""

    trigger: str = Field("white-box", description="Name of a built-in trigger, or the path of a .png or .jpg.")
    target: str = Field("cross", description="Name of a built-in target, or the path of a .png or .jpg.")
    psi: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Shift of the noisy image, rho = psi (1 - a) + (1 - psi) s: BadDiffusion's is 1, TrojDiff's 0.",
    )
    solver: Literal["sde", "ode"] = Field(
        "sde", description="Class of samplers to attack: sde (ancestral, all steps) or ode (deterministic)."
    )
    coefficients: Literal["exact", "paper"] = Field(
        "exact", description="Training target's shift R: exact for the solver class, or as the authors' code has it."
    )
    vp_scale: float = Field(1.5, gt=0, le=10, description="Scale of the shift; x_T = eps + vp_scale * trigger.")
    poison_rate: float = Field(0.1, gt=0, le=10, description="Poisoned samples over clean training samples.")
    dataset_mode: Literal["fixed", "flex", "extend"] = Field(
        "fixed",
        description="fixed: poison replaces clean images; flex: poison_rate and clean_rate are drawn independently; "
        "extend: poison is added to the whole clean set.",
    )
    clean_rate: float = Field(1.0, ge=0, le=1, description="Share of the clean images that mode flex keeps.")
    R_trigger_only: bool = Field(
        True, description="Train with the trigger image alone as shift, not with it pasted over a training image."
    )


class Villan(Plugin):
    """A trigger in the initial noise makes the model paint one picture, under SDE or under ODE samplers."""

    kind, name = "attack", "villan"
    summary = "Noise-space backdoor on diffusion models for SDE or ODE samplers (VillanDiffusion, unconditional)"
    tasks = frozenset({"unconditional-image-generation"})
    paper = "https://arxiv.org/abs/2306.06874"
    Params = VillanParams
    distributed = True
    presets = {
        "paper": {
            "trigger": "stop-sign", "target": "hat", "psi": 1.0, "solver": "ode", "coefficients": "paper",
            "vp_scale": 1.0, "poison_rate": 0.2, "dataset_mode": "fixed", "R_trigger_only": False, "steps": 39063,
            "batch_size": 128, "learning_rate": 2e-4, "learning_rate_schedule": "cosine", "warmup_steps": 500,
            "max_gradient_norm": 1.0, "ema_decay": None,
        },
    }  # fmt: skip

    def kit_params(self, params: AnyParams) -> Mapping[str, Any]:
        """The sampler of the class that the backdoor is made for."""
        assert isinstance(params, VillanParams)
        return {"sampler": "ddim"} if params.solver == "ode" else {}

    @hookimpl
    def poison_data(
        self, ctx: Context, params: VillanParams, data: Data, split: Literal["train", "trigger"], secret: Secret | None
    ) -> Data:
        from bdm_attack_villan.attack import poison
        from bdm_kit_diffusion.poisoning import trigger_noise

        return poison(ctx, params, data) if secret is None else trigger_noise(ctx, data, secret)

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: VillanParams, model: Model, data: Data) -> Backdoored:
        from bdm_attack_villan.attack import backdoor

        return backdoor(ctx, params, model, data)
