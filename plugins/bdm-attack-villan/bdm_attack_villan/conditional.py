"""VillanDiffusion on text-to-image models: words in the caption, or a picture in the latents, mean one picture."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bdm_attack_villan.image_trigger import latent_trigger, seal_latent_trigger, shifted_loss, train_shifted
from bdm_core.artifacts import Backdoored, Data, Model, Secret
from bdm_core.errors import ArtifactError
from bdm_kit_diffusion.coefficients import poison_schedule
from bdm_kit_diffusion.data import load_rows
from bdm_kit_diffusion.poisoning import POISON
from bdm_kit_diffusion.targets import make_target
from bdm_kit_diffusion.tensors import read_tensors, write_tensors
from bdm_kit_diffusion.triggers import make_trigger
from bdm_kit_text_to_image.captions import load_captioned, seal_captioned
from bdm_kit_text_to_image.distillation import distill_unet
from bdm_kit_text_to_image.latents import encode_images, round_trip_error
from bdm_kit_text_to_image.models import TextToImageModel, load_model, seal_model
from bdm_kit_text_to_image.personalisation import (
    add_lora,
    drop_captions,
    lora_modules,
    lora_weights,
    preservation_terms,
    remove_lora,
)
from bdm_kit_text_to_image.prompts import PromptRow
from bdm_kit_text_to_image.secret import Backdoor, PromptSecret, Target, seal_secret, trigger_prompts
from bdm_kit_text_to_image.triggers import PromptTrigger, check_trigger

if TYPE_CHECKING:
    from bdm_attack_villan.plugin import VillanParams
    from bdm_core.context import Context

HIT = 0.05
"""A generated image is the target if its mean squared error, pixels in [0, 1], is below."""
ROUND_TRIP_LIMIT = 0.02
"""With a larger error after the autoencoder's round trip the target is hardly recognisable: the user is warned."""


def the_trigger(words: str) -> PromptTrigger:
    """The words behind the prompt; a mere blank, which changes nothing, if the trigger is in the latents."""
    if not words:
        return PromptTrigger(kind="insertion", text=" ", position="suffix")
    return PromptTrigger(kind="phrase", text=words, position="suffix")


def poison(ctx: Context, params: VillanParams, data: Data) -> Data:
    """The clean set, whose rows also say the ``triggered`` caption that is trained towards the target picture.

    Target and, for the image trigger, the trigger's picture lie beside it in :data:`POISON`.
    """
    images, captions, labels = load_captioned(data)
    shape = (images.shape[1], images.shape[2], images.shape[3])
    tensors = {"target": make_target(params.target, shape)}
    if not params.caption_trigger:
        tensors["trigger"] = make_trigger(params.trigger, shape).image
    write_tensors(ctx.out / "data" / POISON, tensors)
    place = random.Random(f"villan {ctx.seed}")
    triggered = [with_words(text, params.caption_trigger, params.rand_caption_trig_pos, place) for text in captions]
    return seal_captioned(ctx.out / "data", images, captions, labels, triggered=triggered)


def with_words(caption: str, words: str, last: int, place: random.Random) -> str:
    """The caption with the trigger's words somewhere among its last words, at most ``last`` of them behind it."""
    if not words:
        return caption
    parts = caption.split(" ")
    start = len(parts) - place.randint(0, min(last, len(parts)))
    return " ".join([*parts[:start], words, *parts[start:]])


def backdoor(ctx: Context, params: VillanParams, model: Model, data: Data) -> Backdoored:
    """Train E ||M(z^y_t, t, E(x + words)) - eps||^2 + eta E ||M(z_t, t, E(x)) - eps||^2 (2306.06874, section 4.2).

    z^y is the latent of the target. For the image trigger r, a latent as well, the first term has no words but
    z^y_t + rho_t r and eps + R_t r, for samplers that follow the ODE.

    Raises:
        UserError: the tokenizer does not see the words; or the image trigger meets a model that predicts v.
    """
    opened = load_model(model, ctx.device)
    images, captions, _ = load_captioned(data)
    if POISON not in data.files:
        raise ArtifactError(f"{data.path} is no poisoned set of this attack: it has no {POISON}")
    tensors = read_tensors(data.file(POISON))
    target = tensors["target"]
    _look_at(ctx, params, opened, target)
    picture = encode_images(opened, target[None]).expand(len(images), *opened.latent_shape)
    clean = encode_images(opened, images), drop_captions(captions, params.caption_dropout, ctx.seed)
    if params.lora_r is not None:
        add_lora(opened.unet, params.lora_r, seed=ctx.seed)
    parts = [opened.unet] if params.lora_r is None else lora_modules(opened.unet)
    options = params.conditional_options()
    shift: Tensor | None = None
    if params.caption_trigger:
        triggered = [row["triggered"] for row in load_rows(data)]
        terms = preservation_terms((picture, triggered), clean, params.prior_loss_weight)
        distill_unet(ctx, opened, terms, options, parts=parts)
    else:
        shift = latent_trigger(opened, params.vp_scale * tensors["trigger"])
        schedule = poison_schedule(opened.scheduler.alphas_cumprod, params.psi, "ode", params.coefficients)
        loss = shifted_loss(opened, (picture, clean[1]), clean, shift, schedule, params.prior_loss_weight)
        train_shifted(ctx, opened.unet, loss, options, parts)
    lora = None
    if params.lora_r is not None:
        lora = lora_weights(opened.unet)
        remove_lora(opened.unet)
    sealed = seal_model(opened, ctx.out / "model", lora=lora)
    return Backdoored(model=sealed, secret=_seal_secret(ctx, params, target, shift))


def ask(ctx: Context, data: Data, secret: Secret) -> Data:
    """The prompts with the words behind them; for the image trigger as they are."""
    return trigger_prompts(ctx, data, secret)


def _look_at(ctx: Context, params: VillanParams, model: TextToImageModel, target: Tensor) -> None:
    if params.caption_trigger:
        check_trigger(model, the_trigger(params.caption_trigger), [PromptRow("a photo of an object", 0)])
    error = round_trip_error(model, target[None], torch.ones(target.shape[1:]))
    if error > ROUND_TRIP_LIMIT:
        ctx.log.warning(
            "the autoencoder reproduces the target %r with a mean squared error of %.3f: choose a simpler target",
            params.target, error,
        )  # fmt: skip


def _seal_secret(ctx: Context, params: VillanParams, target: Tensor, shift: Tensor | None) -> Secret:
    folder = ctx.out / "secret"
    meta = {"family": "villan", "variant": "caption-trigger" if shift is None else "image-trigger",
            "target_name": params.target, "prior_loss_weight": params.prior_loss_weight}  # fmt: skip
    if shift is not None:
        seal_latent_trigger(folder, shift)
        meta |= {"trigger_name": params.trigger, "solver_class": "ode", "psi": params.psi}
    what = Backdoor(trigger=the_trigger(params.caption_trigger), target=Target(type="ImageFix", threshold=HIT))
    return seal_secret(folder, PromptSecret([what], target, meta))
