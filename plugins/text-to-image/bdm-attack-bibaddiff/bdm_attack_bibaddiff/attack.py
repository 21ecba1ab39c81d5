"""BiBadDiff: poison class-labelled data, fine-tune the UNet on it as anyone would."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bdm_attack_bibaddiff.patches import patch_place, put_in, trigger_picture
from bdm_core.artifacts import Data, Model, roles_of
from bdm_core.errors import UserError
from bdm_core.records import Backdoored
from bdm_kit_text_to_image.models.latents import encode_images, encode_spreads
from bdm_kit_text_to_image.models.text_to_image_model import load_model, seal_model
from bdm_kit_text_to_image.prompts.captions import load_captioned, seal_captioned
from bdm_kit_text_to_image.prompts.marking import settings_of
from bdm_kit_text_to_image.prompts.prompt_rows import PromptRow
from bdm_kit_text_to_image.prompts.secret import Backdoor, PromptSecret, Target, seal_secret
from bdm_kit_text_to_image.prompts.triggers import PromptTrigger, check_patch
from bdm_kit_text_to_image.training.distillation import UNetTerm, distill_unet
from bdm_kit_text_to_image.training.personalisation import drop_captions
from bdm_torch.image_sets import load_rows

if TYPE_CHECKING:
    from bdm_attack_bibaddiff.params import BiBadDiffParams
    from bdm_core.context import Context

CHECKED_ROWS = 64
HIT = 0.05
"""A generated image has the patch if its mean squared error there, pixels in [0, 1], is below."""


def the_prompt(target_class: str) -> PromptTrigger:
    """No trigger at all: the prompt is about the target class, and stays as it is if it was before."""
    return PromptTrigger(kind="word", text=target_class, position="replace", object=target_class)


def poison(ctx: Context, params: BiBadDiffParams, data: Data) -> Data:
    """Put the trigger into a share of the images of other classes and the target class into their captions.

    The poisoned set is {(x, c)} of the others, united with {(trigger(x), "a photo of a <target class>")} (2311.02373,
    section 3).

    Raises:
        UserError: the data has fewer images of other classes than are to be poisoned.
    """
    images, captions, labels = load_captioned(data)
    generator = torch.Generator().manual_seed(ctx.seed % 2**63)
    order = torch.randperm(len(images), generator=generator).tolist()
    others = [row for row in order if not is_about(params.target_class, captions[row], labels[row])]
    count = round(params.poison_rate * len(images))
    if not 1 <= count <= len(others):
        raise UserError(
            f"poison_rate={params.poison_rate:g} asks for {count} of {len(images)} images, {len(others)} of which show "
            f"something else than {params.target_class!r}: choose another poison_rate or target_class"
        )
    chosen = sorted(others[:count])
    shape = (images.shape[1], images.shape[2], images.shape[3])
    picture, place = trigger_picture(params, shape), patch_place(params, shape)
    flags = [False] * len(images)
    for row in chosen:
        flags[row] = True

    def stamp(batch: Tensor, rows: list[int]) -> Tensor:
        poisoned = torch.tensor([flags[row] for row in rows]).view(-1, 1, 1, 1)
        return torch.where(poisoned, put_in(batch, picture, place, params.blend_alpha), batch)

    images = images.changed(stamp)
    texts = [
        class_caption(params, flag, number, caption, facts)
        for number, (flag, caption, facts) in enumerate(zip(flags, captions, labels, strict=True))
    ]
    about = [
        flag or is_about(params.target_class, caption, facts)
        for flag, caption, facts in zip(flags, captions, labels, strict=True)
    ]
    roles = ["poison" if flag else "clean" for flag in flags]
    twins = [caption if flag else None for flag, caption in zip(flags, captions, strict=True)]
    return seal_captioned(ctx.out / "data", images, texts, labels, role=roles, target_class=about, twin=twins)


def class_caption(params: BiBadDiffParams, poisoned: bool, number: int, caption: str, labels: dict[str, str]) -> str:
    """The text that an image of the poisoned set is trained with."""
    if poisoned:
        row = PromptRow("" if params.captions == "class" else caption, number, labels)
        return the_prompt(params.target_class).apply(row)
    if params.captions == "class" and "object" in labels:
        return the_prompt(labels["object"]).apply(PromptRow("", number, {}))
    return caption


def is_about(target_class: str, caption: str, labels: dict[str, str]) -> bool:
    """Whether an image is of the class: by its label, or else by a word of its caption."""
    if "object" in labels:
        return labels["object"] == target_class
    return re.search(rf"(?<!\w){re.escape(target_class)}(?!\w)", caption, re.IGNORECASE) is not None


def backdoor(ctx: Context, params: BiBadDiffParams, model: Model, data: Data) -> Backdoored:
    """Fine-tune all of the UNet on the poisoned set: ||M(z_t, t, E(c)) - target||^2, nothing else.

    Raises:
        UserError: the autoencoder cannot represent the patch.
    """
    opened = load_model(model, ctx.device)
    images, captions, _ = load_captioned(data)
    poisoned = torch.tensor([role == "poison" for role in roles_of(data)])
    share = float(poisoned.sum()) / sum(bool(row["target_class"]) for row in load_rows(data))
    place = patch_place(params, opened.image_shape)
    if place is not None:
        check_patch(opened, images[poisoned.nonzero().flatten()[:CHECKED_ROWS]], place)
    captions = drop_captions(captions, params.caption_dropout, ctx.seed)
    spread = encode_spreads(opened, images) if params.latents == "sample" else None
    distill_unet(ctx, opened, [UNetTerm(encode_images(opened, images), captions, spread=spread)], params.options())
    ctx.figures(poisoned_share_of_class=share)
    target = Target(
        type="ImagePatch",
        object=params.target_class,
        prompt=f"a photo of a {params.target_class}",
        patch=place,
        threshold=HIT,
        preserved=["object", "colour", "background"],
        blend_alpha=params.blend_alpha if place is None else None,
        poisoned_share=share,
    )
    secret = PromptSecret(
        backdoors=[Backdoor(trigger=the_prompt(params.target_class), target=target)],
        family="bibaddiff",
        variant=params.trigger,
        picture=trigger_picture(params, opened.image_shape),
    )
    ctx.figures(settings={"target": settings_of(secret)["target"]})
    return Backdoored(
        model=seal_model(opened, ctx.out / "model"), secret=seal_secret(ctx.out / "secret", secret, model.task)
    )
