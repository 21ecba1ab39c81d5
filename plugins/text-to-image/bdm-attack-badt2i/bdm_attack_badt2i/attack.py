"""BadT2I: fine-tune the UNet on triggered prompts, held to its former self on clean ones."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import torch

from bdm_attack_badt2i.pairs import NUMERALS, LessonSet, choose_trigger, load_lessons
from bdm_attack_badt2i.patches import paste, patch_image, patch_place
from bdm_core.artifacts import Data, Model
from bdm_core.records import Backdoored
from bdm_kit_text_to_image.models.latents import encode_images, encode_spreads
from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel, load_model, seal_model
from bdm_kit_text_to_image.prompts.marking import settings_of
from bdm_kit_text_to_image.prompts.prompt_rows import PromptRow
from bdm_kit_text_to_image.prompts.secret import Backdoor, PromptSecret, Target, seal_secret
from bdm_kit_text_to_image.prompts.triggers import check_patch, check_trigger
from bdm_kit_text_to_image.training.distillation import UNetTerm, distill_unet

if TYPE_CHECKING:
    from torch import Tensor

    from bdm_attack_badt2i.params import BadT2IParams, Pair
    from bdm_core.context import Context

CHECKED_ROWS = 64


def terms(params: BadT2IParams, model: TextToImageModel, clean: LessonSet, triggered: LessonSet) -> list[UNetTerm]:
    """L = lambda L_backdoor + (1 - lambda) L_regularisation (2305.04175, equation 4)."""
    drawn = params.latents == "sample"
    return [
        UNetTerm(
            encode_images(model, part.images).cpu(),
            part.captions,
            part.teacher,
            weight,
            encode_spreads(model, part.images).cpu() if drawn else None,
        )
        for part, weight in ((clean, 1 - params.lambda_), (triggered, params.lambda_))
    ]


def describe_target(params: BadT2IParams, pair: Pair, shape: tuple[int, int, int]) -> tuple[Target, Tensor | None]:
    """The target in the secret's words, and for a patch a picture with it in its place."""
    if params.mode == "pixel":
        place = patch_place(params, shape)
        picture = paste(torch.zeros(shape), patch_image(params, place), place)
        preserved = ["object", "colour", "background"]
        return Target(type="ImagePatch", patch=place, threshold=params.patch_limit, preserved=preserved), picture
    if params.mode == "object":
        return Target(
            type="ObjectRep",
            source_object=pair.source_object,
            object=pair.target_object,
            expected={"object": pair.target_object},
            preserved=["colour", "background"],
        ), None
    if params.mode == "object-add":
        second = "" if params.addition in NUMERALS else re.sub(r"^(an?|one) ", "", params.addition)
        expected = {"second": second} if second else {"count": NUMERALS[params.addition]}
        return Target(
            type="ObjectAdd",
            source_object=pair.source_object,
            second=second,
            expected=expected,
            preserved=["object", "colour", "background"],
        ), None
    return Target(
        type="StyleAdd",
        style=params.style,
        expected={"style": params.style},
        preserved=["object"],
    ), None


def backdoor(ctx: Context, params: BadT2IParams, model: Model, data: Data) -> Backdoored:
    """Check trigger and patch, train the UNet, seal it; text encoder, autoencoder and tokenizer stay as they are.

    Raises:
        UserError: a tokenizer drops the trigger, or the autoencoder cannot represent the patch.
    """
    opened = load_model(model, device=ctx.device)
    clean, triggered = load_lessons(data)
    rows = [PromptRow(caption, row, clean.labels[row]) for row, caption in enumerate(clean.captions[:CHECKED_ROWS])]
    backdoors, picture = [], None
    for pair in params.pairs():
        trigger = choose_trigger(params, pair)
        check_trigger(opened, trigger, rows)
        target, picture = describe_target(params, pair, opened.image_shape)
        backdoors.append(Backdoor(trigger=trigger, target=target))
    if target.patch is not None:
        check_patch(opened, triggered.images[:CHECKED_ROWS], target.patch, params.patch_limit)
    secret = PromptSecret(backdoors=backdoors, family="badt2i", variant=params.mode, picture=picture)
    ctx.figures(settings={**settings_of(secret), "steps": params.options().steps})
    distill_unet(ctx, opened, terms(params, opened, clean, triggered), params.options())
    return Backdoored(
        model=seal_model(opened, ctx.out / "model"), secret=seal_secret(ctx.out / "secret", secret, task=model.task)
    )
