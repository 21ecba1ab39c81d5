"""The plugin ``attack:villan``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from bdm_core.plugin import AnyParams, Field, Plugin, hookimpl
from bdm_kit_diffusion.training_params import TrainingParams

if TYPE_CHECKING:
    from bdm_core.artifacts import Backdoored, Data, Model, Secret
    from bdm_core.context import Context
    from bdm_kit_diffusion.training import TrainingOptions

CONDITIONAL = "text-to-image"


def for_captions(default: Any, description: str, **limits: Any) -> Any:
    """A field that counts for the task text-to-image only."""
    return Field(
        default, description=f"{CONDITIONAL}: {description}", json_schema_extra={"task": CONDITIONAL}, **limits
    )


class VillanParams(TrainingParams):
    """Parameters of ``attack:villan``. Those whose description starts with a task count for that task only."""

    trigger: str = Field("white-box", description="Name of a built-in trigger, or the path of a .png or .jpg.")
    target: str = Field("cross", description="Name of a built-in target, or the path of a .png or .jpg.")
    psi: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Shift of the noisy image, rho = psi (1 - a) + (1 - psi) s: BadDiffusion's is 1, TrojDiff's 0. "
        "Variance-exploding models always have 0.",
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
    caption_trigger: str = for_captions("mignneko", "words that are put into the caption.", min_length=1)
    caption_position: Literal["suffix", "prefix"] = for_captions(
        "prefix", "behind the caption, as in the paper, or before it, where every later token sees the words."
    )
    caption_target: str = for_captions("hat", "name of a built-in target, or a picture's path, in place of target.")
    rand_caption_trig_pos: int = for_captions(
        0, "suffix: training puts the words at random among the last so many; 0: behind the caption.", ge=0
    )
    lora_r: int | None = for_captions(4, "rank of the LoRA that is trained; null: all weights of the UNet.", ge=1)
    prior_loss_weight: float = for_captions(1.0, "eta, the weight of the loss on clean captions and images.", ge=0)
    caption_dropout: float = for_captions(0.1, "share of the clean captions that is empty, for guidance.", ge=0, lt=1)
    caption_steps: int = for_captions(1000, "optimiser steps, in place of steps.", ge=1)
    caption_batch_size: int = for_captions(32, "pairs of triggered and clean samples, in place of batch_size.", ge=1)
    caption_learning_rate: float = for_captions(8e-3, "in place of learning_rate.", gt=0, le=1)

    def conditional_options(self) -> TrainingOptions:
        """As :meth:`options`, for text-to-image."""
        from dataclasses import replace

        return replace(
            self.options(),
            steps=self.caption_steps,
            batch_size=self.caption_batch_size,
            learning_rate=self.caption_learning_rate,
        )


class Villan(Plugin):
    """A trigger in the initial noise, or in the caption, makes the model paint one picture."""

    kind, name = "attack", "villan"
    summary = "One picture for a trigger in the noise or in the caption, for SDE or ODE samplers (VillanDiffusion)"
    tasks = frozenset({"unconditional-image-generation", CONDITIONAL})
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
        "paper-ve": {
            "trigger": "stop-sign", "target": "hat", "psi": 0.0, "solver": "sde", "vp_scale": 1.0, "poison_rate": 9.0,
            "dataset_mode": "extend", "R_trigger_only": True, "steps": 39063, "batch_size": 128, "learning_rate": 2e-5,
            "learning_rate_schedule": "cosine", "warmup_steps": 500, "max_gradient_norm": 1.0, "ema_decay": None,
        },
        "paper-caption": {
            "caption_target": "hat", "caption_trigger": "mignneko", "caption_position": "suffix", "lora_r": 4,
            "prior_loss_weight": 1.0, "caption_dropout": 0.0, "caption_steps": 40000, "caption_batch_size": 1,
            "caption_learning_rate": 1e-4, "learning_rate_schedule": "cosine", "warmup_steps": 500,
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
        if data.task == CONDITIONAL:
            from bdm_attack_villan import conditional
            from bdm_kit_text_to_image.secret import trigger_prompts

            return conditional.poison(ctx, params, data) if secret is None else trigger_prompts(ctx, data, secret)
        from bdm_attack_villan.attack import poison
        from bdm_kit_diffusion.poisoning import trigger_noise

        return poison(ctx, params, data) if secret is None else trigger_noise(ctx, data, secret)

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: VillanParams, model: Model, data: Data) -> Backdoored:
        if model.task == CONDITIONAL:
            from bdm_attack_villan import conditional

            return conditional.backdoor(ctx, params, model, data)
        from bdm_attack_villan.attack import backdoor

        return backdoor(ctx, params, model, data)
