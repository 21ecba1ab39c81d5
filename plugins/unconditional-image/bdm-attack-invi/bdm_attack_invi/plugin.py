"""The plugin ``attack:invi``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from bdm_core.plugin import AnyParams, Field, Plugin, hookimpl
from bdm_kit_diffusion.training_params import TrainingParams

if TYPE_CHECKING:
    from bdm_core.artifacts import Backdoored, Data, Model, Secret
    from bdm_core.context import Context


class InviParams(TrainingParams):
    """Parameters of ``attack:invi``."""

    target: str = Field("cross", description="Name of a built-in target, or the path of a .png or .jpg.")
    solver: Literal["sde", "ode"] = Field(
        "ode", description="Class of samplers to attack: sde (ancestral, all steps) or ode (deterministic)."
    )
    coefficients: Literal["exact", "paper"] = Field(
        "exact",
        description="Training target's shift R: exact for the solver class, or the authors' (DDIM with single steps; "
        "solver=ode only).",
    )
    poison_rate: float = Field(0.1, gt=0, le=1, description="Share of the training images that is poisoned.")
    bound: float | None = Field(
        None,
        gt=0,
        le=10,
        description="Largest absolute value of the trigger, in units of the noise's standard deviation; null: 0.2 as "
        "published or, where the image has too few values for a trigger of norm 8, what allows that norm (solver=sde: "
        "12); the trigger is then stretched to it.",
    )
    trigger_learning_rate: float = Field(
        5e-2, gt=0, le=1, description="Adam's rate for the trigger, which is fed the sign of the gradient."
    )
    trigger_halving: int | None = Field(
        40, ge=1, description="Steps after which the trigger's rate is halved; after eight halvings the trigger is "
        "final, and the model alone is trained on. null: never.",
    )  # fmt: skip
    inner_batch_size: int = Field(8, ge=1, description="Images generated for one step of the trigger.")
    inner_steps: int = Field(
        5, ge=1, description="Sampling steps of these images; the gradient goes back through all of them."
    )
    inner_sampler: str | None = Field(
        None, description="Sampler of these images; null: ddim for solver=ode, ddpm for solver=sde."
    )
    steps: int = Field(700, ge=1, description="Optimiser steps of the model, each after one of the trigger.")
    batch_size: int = Field(128, ge=1, description="Samples a step, over all processes.")


class Invi(Plugin):
    """Learns the trigger together with the model: small in every pixel, as the noise hides it."""

    kind, name = "attack", "invi"
    summary = "A learnt trigger of bounded size in the noise, trained together with the model (InviBackdoor)"
    tasks = frozenset({"unconditional-image-generation"})
    paper = "https://arxiv.org/abs/2406.00816"
    Params = InviParams
    presets = {
        "paper": {
            "target": "hat", "solver": "ode", "coefficients": "paper", "poison_rate": 0.1, "bound": 0.2,
            "trigger_learning_rate": 1e-3, "trigger_halving": None, "inner_batch_size": 32, "inner_steps": 10,
            "inner_sampler": "ddim", "steps": 19532, "batch_size": 128, "learning_rate": 2e-4,
            "learning_rate_schedule": "cosine", "warmup_steps": 500, "max_gradient_norm": 1.0, "ema_decay": None,
        },
    }  # fmt: skip

    def kit_params(self, params: AnyParams) -> Mapping[str, Any]:
        """The sampler of the class that the backdoor is made for."""
        assert isinstance(params, InviParams)
        return {"sampler": "ddim"} if params.solver == "ode" else {}

    @hookimpl
    def poison_data(
        self, ctx: Context, params: InviParams, data: Data, split: Literal["train", "trigger"], secret: Secret | None
    ) -> Data:
        from bdm_attack_invi.attack import poison
        from bdm_kit_diffusion.poisoning import trigger_noise

        return poison(ctx, params, data) if secret is None else trigger_noise(ctx, data, secret)

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: InviParams, model: Model, data: Data) -> Backdoored:
        from bdm_attack_invi.attack import backdoor

        return backdoor(ctx, params, model, data)
