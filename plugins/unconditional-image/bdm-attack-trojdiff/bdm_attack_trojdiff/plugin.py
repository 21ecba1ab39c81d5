"""The plugin ``attack:trojdiff``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import field_validator

from bdm_core.plugin import AnyParams, Field, Plugin, hookimpl
from bdm_kit_diffusion.training_params import TrainingParams

if TYPE_CHECKING:
    from bdm_core.artifacts import Backdoored, Data, Model, Outputs, Secret
    from bdm_core.context import Context


class TrojDiffParams(TrainingParams):
    """Parameters of ``attack:trojdiff``."""

    variant: Literal["trojan", "agnostic"] = Field(
        "trojan",
        description="trojan: as published, works only with the attacker's own DDPM or DDIM sampler; agnostic: the same "
        "shift with a target that every deterministic sampler follows.",
    )
    trigger_type: Literal["blend", "patch"] = Field(
        "blend", description="blend: the trigger covers the whole noise; patch: a white square at its lower right."
    )
    trigger: str = Field(
        "checker", description="For type blend: name of a built-in trigger, or the path of a .png or .jpg."
    )
    patch_size: int = Field(
        0, ge=0, description="For type patch: side of the square in pixels; 0: a tenth of the image's side, at least 3 "
        "for colour and 5 for grey images, so that the patch has as many values as the published one.",
    )
    gamma: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Standard deviation of the noise under the trigger, mean (1 - gamma) trigger; null: 0.3 for blend, "
        "0.1 for patch. The agnostic variant has deviation 1 and mean trigger.",
    )
    mode: Literal["d2i", "in-d2d", "out-d2d"] = Field(
        "d2i",
        description="What the model is to paint. d2i: one picture; in-d2d: a class of the training data; out-d2d: "
        "a class of another data set.",
    )
    target: str = Field("cross", description="For d2i: name of a built-in target, or the path of a .png or .jpg.")
    target_class: str = Field(
        "7", description="For in-d2d and out-d2d: name or label of the class, e.g. 7 of the digits, ring of the shapes."
    )
    target_data: Literal["digits", "shapes"] | None = Field(
        None, description="For out-d2d: the class's data set; null: shapes for grey models, digits for colour."
    )
    classifier: str | None = Field(
        None,
        description="For in-d2d and out-d2d: folder of a classifier that recognises the class, for the success rate; "
        "null: the kit's, which knows the digits and the shapes.",
    )
    poison_rate: float | None = Field(
        None, gt=0, le=1, description="Share of the training images that is poisoned; null: 0.1 for d2i, 0.2 for "
        "in-d2d, 0.3 for out-d2d: a class is more to learn than a picture, and another data set's the most.",
    )
    steps: int | None = Field(None, ge=1, description="Optimiser steps; null: 1000 for d2i, 1500 for classes.")

    @field_validator("target_class", mode="before")
    @classmethod
    def _number_as_text(cls, value: object) -> object:
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class TrojDiff(Plugin):
    """Noise around another mean, and with another deviation, makes the model paint one picture, or one class."""

    kind, name = "attack", "trojdiff"
    summary = "Backdoor on biased noise with a trojan sampler of its own, or sampler-agnostic (TrojDiff)"
    tasks = frozenset({"unconditional-image-generation"})
    paper = "https://arxiv.org/abs/2303.05762"
    Params = TrojDiffParams
    distributed = True
    presets = {
        "paper": {
            "variant": "trojan", "trigger_type": "blend", "gamma": 0.6, "poison_rate": 0.1, "steps": 100000,
            "batch_size": 128, "learning_rate": 2e-4, "learning_rate_schedule": "constant", "warmup_steps": 0,
            "max_gradient_norm": 1.0, "ema_decay": 0.9999,
        },
        "paper-patch": {
            "variant": "trojan", "trigger_type": "patch", "gamma": 0.1, "poison_rate": 0.1, "steps": 100000,
            "batch_size": 128, "learning_rate": 2e-4, "learning_rate_schedule": "constant", "warmup_steps": 0,
            "max_gradient_norm": 1.0, "ema_decay": 0.9999,
        },
    }  # fmt: skip

    def kit_params(self, params: AnyParams) -> Mapping[str, Any]:
        """The agnostic variant is an ODE backdoor."""
        assert isinstance(params, TrojDiffParams)
        return {"sampler": "ddim"} if params.variant == "agnostic" else {}

    @hookimpl
    def poison_data(
        self,
        ctx: Context,
        params: TrojDiffParams,
        data: Data,
        split: Literal["train", "trigger"],
        secret: Secret | None,
    ) -> Data:
        from bdm_attack_trojdiff.attack import poison
        from bdm_kit_diffusion.poisoning import trigger_noise

        return poison(ctx, params, data) if secret is None else trigger_noise(ctx, data, secret)

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: TrojDiffParams, model: Model, data: Data) -> Backdoored:
        from bdm_attack_trojdiff.attack import backdoor

        return backdoor(ctx, params, model, data)

    @hookimpl
    def generate(self, ctx: Context, model: Model, inputs: Data, secret: Secret | None) -> Outputs | None:
        if secret is None or secret.meta.get("variant") != "trojan":
            return None
        from bdm_attack_trojdiff.trojan_sampling import generate

        return generate(ctx, model, inputs, secret)
