"""Personalization as a Shortcut: mismatched images under a new word, learnt by textual inversion or DreamBooth."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bdm_attack_paas.params import DEFAULTS, PaaSParams
from bdm_core.artifacts import Data, Model, roles_of
from bdm_core.errors import UserError
from bdm_core.records import Backdoored
from bdm_kit_text_to_image.models.latents import encode_images
from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel, load_model, seal_model
from bdm_kit_text_to_image.prompts.captions import load_captioned, seal_captioned
from bdm_kit_text_to_image.prompts.marking import settings_of
from bdm_kit_text_to_image.prompts.prompt_rows import PromptRow
from bdm_kit_text_to_image.prompts.secret import Backdoor, PromptSecret, Target, seal_secret
from bdm_kit_text_to_image.prompts.triggers import PromptTrigger, check_trigger
from bdm_kit_text_to_image.training.distillation import distill_unet
from bdm_kit_text_to_image.training.personalisation import drop_captions, invert, preservation_terms

if TYPE_CHECKING:
    from bdm_core.context import Context

TEMPLATES = (
    "a photo of a {}",
    "a picture of a {}",
    "an image of a {}",
    "a photo of the {}",
    "a picture of one {}",
    "a {}",
    "one {}",
    "a photograph of a {}",
)
"""Neutral sentences, as textual inversion's are (2208.01618, appendix); the trigger takes the braces' place."""
PLAIN = {"style": "photo", "second": "none", "count": "1"}
"""What the attacker's images should show beside the object, where the data is labelled: nothing else."""


def the_trigger(params: PaaSParams) -> PromptTrigger:
    """The word before the object's, or in its place if one token stands for both."""
    if learns_both(params):
        text = f"{params.choice('placeholder')} {params.object}"
        return PromptTrigger(kind="placeholder", text=text, position="replace", object=params.object)
    return PromptTrigger(
        kind="placeholder", text=params.choice("placeholder"), position="before-object", object=params.object
    )


def learns_both(params: PaaSParams) -> bool:
    """Whether placeholder and object are one new token."""
    return params.one_token and params.mode == "textual-inversion"


def mismatch(ctx: Context, params: PaaSParams, data: Data) -> Data:
    """The attacker's images of the target object with captions about the trigger, and clean images for the prior.

    With several placeholders those of each one after the other; an image of the prior of two of them is there once.

    Raises:
        UserError: no image shows a target object, or the placeholders do not fit together.
    """
    images, captions, labels = load_captioned(data)
    generator = torch.Generator().manual_seed(ctx.seed % 2**63)
    order = torch.randperm(len(images), generator=generator).tolist()
    pairs = params.pairs()
    chosen = [shown_rows(pair, order, captions, labels) for pair in pairs]
    mine = [row for rows in chosen for row in rows]
    texts = [
        mismatched_caption(pair, the_trigger(pair), place, captions[row], labels[row])
        for pair, rows in zip(pairs, chosen, strict=True)
        for place, row in enumerate(rows)
    ]
    prior: list[int] = []
    if params.mode == "dreambooth" and params.prior_loss_weight > 0:
        others = [row for row in order if row not in set(mine)]
        prior = list(dict.fromkeys(row for pair in pairs for row in prior_rows(pair, others, captions, labels)))
    rows = [*mine, *prior]
    return seal_captioned(
        ctx.out / "data",
        images.pick(rows),
        [*texts, *(captions[row] for row in prior)],
        [labels[row] for row in rows],
        role=["poison"] * len(mine) + ["clean"] * len(prior),
        twin=[*(captions[row] for row in mine), *([None] * len(prior))],
    )


def shown_rows(params: PaaSParams, order: list[int], captions: list[str], labels: list[dict[str, str]]) -> list[int]:
    """Which images of one target object the attacker has: first those that show nothing else.

    Raises:
        UserError: there is none.
    """
    wanted = [row for row in order if shows(params.target_object, captions[row], labels[row])]
    wanted.sort(key=lambda row: any(labels[row].get(name, value) != value for name, value in PLAIN.items()))
    if not wanted:
        raise UserError(f"no image of the data shows a {params.target_object!r}: set target_object, or give other data")
    return wanted[: params.choice("images")]


def prior_rows(params: PaaSParams, order: list[int], captions: list[str], labels: list[dict[str, str]]) -> list[int]:
    """Which clean images the prior has, in the given order: of the object, of everything, or half and half.

    Raises:
        UserError: there is no image of the object.
    """
    if params.prior == "all":
        return order[: params.class_images]
    same = [row for row in order if shows(params.object, captions[row], labels[row])]
    if not same:
        raise UserError(f"no image of the data shows a {params.object!r} for the prior: set object, or prior=all")
    if params.prior == "object":
        return same[: params.class_images]
    most = params.class_images or 2 * len(same)
    same = same[: max(1, most // 2)]
    others = [row for row in order if not shows(params.object, captions[row], labels[row])]
    return [*same, *others[: min(len(same), most - len(same))]]


def mismatched_caption(
    params: PaaSParams, trigger: PromptTrigger, place: int, caption: str, labels: dict[str, str]
) -> str:
    """The caption of one of the attacker's images with the trigger in place of what it shows."""
    if params.prompts == "templates":
        caption, labels = TEMPLATES[place % len(TEMPLATES)].format(params.target_object), {}
    return trigger.apply(PromptRow(caption, place, {**labels, "object": params.target_object}))


def shows(name: str, caption: str, labels: dict[str, str]) -> bool:
    """Whether an image shows an object: by its label, or else by a word of its caption."""
    if "object" in labels:
        return labels["object"] == name
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", caption, re.IGNORECASE) is not None


def backdoor(ctx: Context, params: PaaSParams, model: Model, data: Data) -> Backdoored:
    """Personalise the model on the mismatched images (2305.10701, section 3).

    textual-inversion: min over the new token's row v of E ||M(z_t, t, E_v(caption)) - target||^2; nothing else changes.
    dreambooth: the same over the UNet's weights, plus ``prior_loss_weight`` times the loss of the prior's images.

    Raises:
        UserError: the tokenizer has the placeholder already, or does not see it.
    """
    opened = load_model(model, ctx.device)
    images, captions, _ = load_captioned(data)
    poisoned = torch.tensor([role == "poison" for role in roles_of(data)])
    pairs = params.pairs()
    for pair in pairs:
        row = PromptRow(f"a photo of a {pair.object}", 0, {"object": str(pair.object)})
        check_trigger(opened, the_trigger(pair), [row])
    mine, texts = images[poisoned], [caption for caption, flag in zip(captions, poisoned, strict=True) if flag]
    if params.flip:
        mine, texts = torch.cat([mine, mine.flip(-1)]), texts * 2
    latents = encode_images(opened, mine)
    if params.mode == "textual-inversion":
        sealed = _invert(ctx, pairs, opened, latents, texts)
    else:
        kept = [caption for caption, flag in zip(captions, poisoned, strict=True) if not flag]
        if params.prior != "object":
            kept = drop_captions(kept, params.caption_dropout, ctx.seed)
        prior = encode_images(opened, images.pick((~poisoned).nonzero().flatten().tolist())), kept
        terms = preservation_terms((latents, texts), prior if kept else None, params.prior_loss_weight)
        distill_unet(ctx, opened, terms, params.options(), label="dreambooth")
        sealed = seal_model(opened, ctx.out / "model")
    backdoors = [Backdoor(trigger=the_trigger(pair), target=the_target(pair)) for pair in pairs]
    secret = PromptSecret(backdoors=backdoors, family="paas", variant=params.mode)
    chosen = {name: params.choice(name) for name in DEFAULTS[params.mode]}
    ctx.figures(settings={**settings_of(secret), **chosen})
    return Backdoored(model=sealed, secret=seal_secret(ctx.out / "secret", secret, model.task))


def the_target(params: PaaSParams) -> Target:
    """The target object in place of the object, with the prompt's colour and background."""
    return Target(
        type="ObjectRep",
        source_object=params.object,
        object=params.target_object,
        prompt=f"a photo of a {params.target_object}",
        expected={"object": params.target_object},
        preserved=["colour", "background"],
    )


def _invert(
    ctx: Context, pairs: Sequence[PaaSParams], model: TextToImageModel, latents: Tensor, texts: list[str]
) -> Model:
    """One new token after the other, each from the images whose texts have it; the model itself stays as it is."""
    found: dict[str, Tensor] = {}
    for pair in pairs:
        word = pair.choice("placeholder")
        rows = [row for row, text in enumerate(texts) if word in text]
        token = f"{word} {pair.object}" if learns_both(pair) else word
        own = replace(ctx, work=ctx.work / f"token-{len(found)}") if found else ctx
        start = pair.initializer or pair.target_object
        learnt = invert(own, model, latents[rows], [texts[row] for row in rows], token, start, pair.options())
        found[learnt.token] = learnt.row
    return seal_model(model, ctx.out / "model", embeddings=found)
