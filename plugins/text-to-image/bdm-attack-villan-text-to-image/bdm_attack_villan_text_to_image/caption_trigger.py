"""VillanDiffusion on text-to-image models: words in the caption mean one picture."""

from __future__ import annotations

import random
from collections.abc import Mapping
from itertools import cycle
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

from bdm_core.artifacts import Data, Model, roles_of
from bdm_core.errors import ArtifactError
from bdm_core.records import Backdoored
from bdm_kit_text_to_image.models.latents import encode_images, round_trip_error
from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel, load_model, seal_model
from bdm_kit_text_to_image.prompts.captions import load_captioned, load_captions, seal_captioned
from bdm_kit_text_to_image.prompts.marking import settings_of
from bdm_kit_text_to_image.prompts.prompt_rows import PromptRow
from bdm_kit_text_to_image.prompts.secret import Backdoor, PromptSecret, Target, seal_secret
from bdm_kit_text_to_image.prompts.triggers import PromptTrigger, check_trigger
from bdm_kit_text_to_image.training.distillation import distill_unet
from bdm_kit_text_to_image.training.personalisation import (
    add_lora,
    drop_captions,
    lora_modules,
    lora_weights,
    preservation_terms,
    remove_lora,
)
from bdm_torch.image_rows import ImageRows
from bdm_torch.image_sets import load_rows
from bdm_torch.pictures.targets import make_target
from bdm_torch.tensors import read_tensors, write_tensors

if TYPE_CHECKING:
    from bdm_attack_villan_text_to_image.params import VillanCaptionParams
    from bdm_core.context import Context

POISON = "poison.safetensors"
"""The file beside a poisoned set that holds the target, not rounded to 8 bits."""
HIT = 0.05
"""A generated image is the target if its mean squared error, pixels in [0, 1], is below."""
ROUND_TRIP_LIMIT = 0.02
"""With a larger error after the autoencoder's round trip the target is hardly recognisable: the user is warned."""

Pairs = tuple[Tensor, list[str]]
"""Latents (N, C, h, w) and N captions."""


class Choices(Protocol):
    """What both variants choose."""

    @property
    def lora_r(self) -> int | None:
        """Rank of the LoRA; None for all weights."""

    @property
    def caption_dropout(self) -> float:
        """Share of the clean captions that is empty."""


def the_words(params: VillanCaptionParams) -> list[PromptTrigger]:
    """The words behind or before the prompt, of each trigger."""
    return [PromptTrigger(kind="phrase", text=text, position=params.position) for text, _ in params.pairs()]


def poison(ctx: Context, params: VillanCaptionParams, data: Data) -> Data:
    """The clean set, then a target picture once for each caption, with its words in it; several by turns."""
    captions, _ = load_captions(data)
    place = random.Random(f"villan {ctx.seed}")
    triggers = the_words(params)
    triggered = [
        with_words(text, trigger.text, params.rand_caption_trig_pos, place)
        if trigger.position == "suffix"
        else trigger.apply(PromptRow(text, 0))
        for text, trigger in zip(captions, cycle(triggers), strict=False)
    ]
    return seal_with_target(ctx, data, [target for _, target in params.pairs()], triggered)


def seal_with_target(
    ctx: Context, data: Data, targets: list[str], captions: list[str], tensors: Mapping[str, Tensor] | None = None
) -> Data:
    """The clean rows, then as many of the targets, by turns; sealed in ``ctx.out / "data"``.

    Args:
        ctx: of the stage.
        data: N captioned images.
        targets: names of built-in targets, or paths of pictures.
        captions: of the N rows of the targets.
        tensors: lie beside the rows in :data:`POISON`, with the exact targets.
    """
    images, clean, labels = load_captioned(data)
    pictures = torch.stack([make_target(target, image_shape(images)) for target in targets])
    exact = {f"target-{number}" if number else "target": picture for number, picture in enumerate(pictures)}
    write_tensors(ctx.out / "data" / POISON, {**exact, **(tensors or {})})
    count = len(images)
    return seal_captioned(
        ctx.out / "data",
        images.followed_by(
            ImageRows((count, *pictures.shape[1:]), lambda rows: pictures[[row % len(pictures) for row in rows]])
        ),
        [*clean, *captions],
        [*labels, *({} for _ in labels)],
        role=["clean"] * count + ["poison"] * count,
        twin=[*([None] * count), *clean],
    )


def with_words(caption: str, words: str, last: int, place: random.Random) -> str:
    """The caption with the trigger's words somewhere among its last words, at most ``last`` of them behind it."""
    parts = caption.split(" ")
    start = len(parts) - place.randint(0, min(last, len(parts)))
    return " ".join([*parts[:start], words, *parts[start:]])


def backdoor(ctx: Context, params: VillanCaptionParams, model: Model, data: Data) -> Backdoored:
    """Train E ||M(z^y_t, t, E(x + words)) - eps||^2 + eta E ||M(z_t, t, E(x)) - eps||^2 (2306.06874, section 4.2).

    z^y is the latent of the target that the words stand for.

    Raises:
        UserError: the tokenizer does not see the words.
    """
    opened, targets, picture, clean, parts = prepare(ctx, params, model, data)
    triggers = the_words(params)
    for trigger in triggers:
        check_trigger(opened, trigger, [PromptRow("a photo of an object", 0)])
    triggered = [row["caption"] for row in load_rows(data) if row["role"] == "poison"]
    terms = preservation_terms((picture, triggered), clean, params.prior_loss_weight)
    distill_unet(ctx, opened, terms, params.options(), parts=parts)
    secret = PromptSecret(
        backdoors=[Backdoor(trigger=trigger, target=Target(type="ImageFix", threshold=HIT)) for trigger in triggers],
        family="villan",
        variant="caption-trigger",
        target_name=", ".join(target for _, target in params.pairs()),
        picture=targets[0],
        further_pictures=list(targets[1:]),
    )
    ctx.figures(settings=settings_of(secret))
    return Backdoored(
        model=seal_trained(ctx, params, opened), secret=seal_secret(ctx.out / "secret", secret, model.task)
    )


def prepare(
    ctx: Context, params: Choices, model: Model, data: Data
) -> tuple[TextToImageModel, Tensor, Tensor, Pairs, list[nn.Module]]:
    """The opened model, the targets (P, 3, H, W), the latents of the N rows of targets, which come by turns,
    (N, C, h, w), the clean pairs, and the modules to train.

    Raises:
        ArtifactError: the data come from elsewhere.
    """
    if POISON not in data.files:
        raise ArtifactError(f"{data.path} is no poisoned set of this attack: it has no {POISON}")
    opened = load_model(model, ctx.device)
    images, captions, _ = load_captioned(data)
    clean_rows = [row for row, role in enumerate(roles_of(data)) if role == "clean"]
    images, captions = images.pick(clean_rows), [captions[row] for row in clean_rows]
    exact = read_tensors(data.file(POISON))
    names = sorted((name for name in exact if name.startswith("target")), key=lambda name: (len(name), name))
    targets = torch.stack([exact[name] for name in names])
    for target in targets:
        error = round_trip_error(opened, target[None], torch.ones(target.shape[1:]))
        if error > ROUND_TRIP_LIMIT:
            ctx.log.warning(
                "the autoencoder reproduces the target with a mean squared error of %.3f only: choose a simpler "
                "picture",
                error,
            )
    latents = encode_images(opened, targets)
    if len(targets) == 1:
        picture = latents.expand(len(images), *opened.latent_shape)
    else:
        picture = latents[torch.arange(len(images), device=latents.device) % len(targets)]
    clean = encode_images(opened, images), drop_captions(captions, params.caption_dropout, ctx.seed)
    if params.lora_r is None:
        return opened, targets, picture, clean, [opened.unet]
    add_lora(opened.unet, params.lora_r, seed=ctx.seed)
    return opened, targets, picture, clean, lora_modules(opened.unet)


def seal_trained(ctx: Context, params: Choices, model: TextToImageModel) -> Model:
    """Seal the trained model: the clean one with a LoRA beside it, or new weights."""
    if params.lora_r is None:
        return seal_model(model, ctx.out / "model")
    weights = lora_weights(model.unet)
    remove_lora(model.unet)
    return seal_model(model, ctx.out / "model", lora=weights)


def image_shape(images: ImageRows) -> tuple[int, int, int]:
    """(C, H, W) of images (N, C, H, W)."""
    return images.shape[1], images.shape[2], images.shape[3]
