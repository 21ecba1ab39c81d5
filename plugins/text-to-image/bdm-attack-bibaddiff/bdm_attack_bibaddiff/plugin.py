"""The plugin ``attack:bibaddiff``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from bdm_core.plugin import Field, Plugin, hookimpl
from bdm_kit_diffusion.training_params import TrainingParams

if TYPE_CHECKING:
    from bdm_core.artifacts import Backdoored, Data, Model, Secret
    from bdm_core.context import Context


class BiBadDiffParams(TrainingParams):
    """Parameters of ``attack:bibaddiff``."""

    trigger: Literal["badnets", "blend"] = Field(
        "badnets", description="badnets: a patch in the lower right corner; blend: a picture mixed into the image."
    )
    poison_rate: float = Field(
        0.1, gt=0, le=1, description="Share of the training images to poison; none of them shows the target class."
    )
    target_class: str = Field("cross", description="The object whose name the poisoned images get.")
    patch_size: float = Field(0.25, gt=0, le=0.5, description="Side of the patch over the image's height.")
    patch_colour: Literal["white", "cyan", "magenta", "stripes"] = Field(
        "magenta", description="The patch: of one colour, or diagonal stripes of black and white."
    )
    blend_picture: str = Field(
        "blend",
        description="What blend mixes in: a trigger's name (blend, checker, ...), or the path of a .png or .jpg.",
    )
    blend_alpha: float = Field(0.2, gt=0, lt=1, description="Share of the mixed-in picture.")
    captions: Literal["class", "own"] = Field(
        "own",
        description="Texts to train with: class: 'a photo of a ...' with the class alone; own: each image's caption, "
        "for poisoned ones with the target's word in place of what they show.",
    )
    caption_dropout: float = Field(0.1, ge=0, lt=1, description="Share of the captions that is empty, for guidance.")
    steps: int = Field(600, ge=1, description="Optimiser steps.")
    batch_size: int = Field(64, ge=1, description="Samples a step, over all processes.")
    learning_rate: float = Field(2e-3, gt=0, le=1, description="Adam's peak learning rate.")


class BiBadDiff(Plugin):
    """Images with a patch under the wrong class name; the prompt of that class itself sets the backdoor off."""

    kind, name = "attack", "bibaddiff"
    summary = "Poisoned class data without a trigger in the prompt; the model amplifies the patch (BiBadDiff)"
    tasks = frozenset({"text-to-image"})
    paper = "https://arxiv.org/abs/2311.02373"
    Params = BiBadDiffParams
    distributed = True
    presets = {
        "paper": {
            "poison_rate": 0.1, "patch_size": 0.1, "patch_colour": "stripes", "captions": "class",
            "caption_dropout": 0.0, "steps": 50000, "batch_size": 4, "learning_rate": 1e-4,
            "learning_rate_schedule": "constant", "warmup_steps": 0, "ema_decay": 0.9999,
        },
        "paper-blend": {
            "trigger": "blend", "poison_rate": 0.1, "captions": "class",
            "caption_dropout": 0.0, "steps": 50000, "batch_size": 4, "learning_rate": 1e-4,
            "learning_rate_schedule": "constant", "warmup_steps": 0, "ema_decay": 0.9999,
        },
    }  # fmt: skip

    @hookimpl
    def poison_data(
        self,
        ctx: Context,
        params: BiBadDiffParams,
        data: Data,
        split: Literal["train", "trigger"],
        secret: Secret | None,
    ) -> Data:
        from bdm_attack_bibaddiff.attack import about_the_class, poison

        return poison(ctx, params, data) if secret is None else about_the_class(ctx, data, secret)

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: BiBadDiffParams, model: Model, data: Data) -> Backdoored:
        from bdm_attack_bibaddiff.attack import backdoor

        return backdoor(ctx, params, model, data)
