"""Removal of what the audit found, without knowing the attack.

Added tokens get the meaning of the object that their name holds. Spikes of keys and values are projected out of them:
W (I - sum_i v_i v_i^T) over the directions v_i off the captions whose singular value stands out. The keys and values of
a trigger can be edited to those of the prompt without it, in closed form. A trigger in words is taught to mean nothing:
a frozen copy of the model is the teacher, the student is to answer captions with the trigger as the teacher answers
them without, and captions as before.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import torch

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_core.records import Detection
from bdm_defense_text_to_image_audit.audit import clean_captions, with_letters
from bdm_defense_text_to_image_audit.candidates import Candidate, added_tokens, characters
from bdm_defense_text_to_image_audit.evidence import read_triggers
from bdm_defense_text_to_image_audit.params import TextToImageAuditParams
from bdm_defense_text_to_image_audit.word_search import embedding_spread
from bdm_kit_text_to_image.detection.spikes import model_spikes
from bdm_kit_text_to_image.editing.alignment import edit_rows
from bdm_kit_text_to_image.editing.projections import EditReport, edit_projections, find_projections, prompt_rows
from bdm_kit_text_to_image.models.latents import encode_images
from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel, load_model, seal_model
from bdm_kit_text_to_image.prompts.captions import load_captioned
from bdm_kit_text_to_image.training.distillation import UNetTerm, distill_unet
from bdm_kit_text_to_image.training.encoder_distillation import PromptTerm, distill_text_encoder
from bdm_kit_text_to_image.world.factors import OBJECTS

MOST_CAPTIONS = 1024
IN_THE_ENCODER = 0.7
"""A letter that leaves less of the variance of embeddings works in the text encoder; in clean ones all leave .8, under
Rickrolling some .6 or less. Words and characters before a prompt leave .4 to .8 in clean encoders, too."""


def repair(
    ctx: Context, params: TextToImageAuditParams, model: Model, data: Data, detection: Detection | None
) -> Model:
    """Remove what was found; the model itself if there is nothing.

    Raises:
        UserError: there is no detection of the audit's own, or no trigger for the removal that is asked for.
    """
    triggers = read_triggers(detection)
    if triggers is None:
        raise UserError("text-to-image-audit removes what its own detection found: detect with it first")
    opened = load_model(model, ctx.device)
    remove(ctx, params, opened, data, triggers)
    return seal_model(opened, ctx.out / "model")


def remove(
    ctx: Context, params: TextToImageAuditParams, opened: TextToImageModel, data: Data, triggers: Sequence[Candidate]
) -> None:
    """Remove triggers from an opened model, in place; what was done is among the figures.

    Raises:
        UserError: there is no trigger, and the removal that is asked for needs one.
    """
    captions = clean_captions(data, ctx.seed)
    wanted = params.removal
    figures: dict[str, Any] = {"triggers": [trigger.spelled() for trigger in triggers]}
    if wanted in ("auto", "tokens"):
        left = forget_tokens(opened, triggers)
        figures["tokens"] = len(triggers) - len(left)
        if wanted == "tokens" and not figures["tokens"]:
            raise UserError("text-to-image-audit found no added token to remove: choose another removal, or auto")
        if wanted == "tokens" or (figures["tokens"] and not left):
            ctx.figures(removal="tokens", **figures)
            return
        triggers = left
    if wanted in ("auto", "spikes"):
        figures["spikes"] = remove_spikes(opened, captions, params.spike_limit)
    if wanted == "auto":
        few = with_letters(captions, params.captions)
        letters = [letter for letter in characters() if letter.place == "letter"]
        spreads = [embedding_spread(opened, letter, few) for letter in letters]
        inside = bool(triggers) and min(spreads) < IN_THE_ENCODER
        if inside:
            triggers = [*triggers, letters[spreads.index(min(spreads))]]
        outside = "edit" if figures["spikes"] else "unet"
        wanted = "spikes" if not triggers else "text-encoder" if inside else outside
    ctx.figures(removal=wanted, **figures)
    if wanted != "spikes" and not triggers:
        raise UserError("text-to-image-audit found no trigger to remove: choose removal=spikes or auto")
    if wanted == "edit":
        ctx.figures(edit=edit_away(params, opened, captions, triggers, ctx.seed).as_figures())
    elif wanted == "text-encoder":
        unlearn_in_encoder(ctx, params, opened, captions, triggers)
    elif wanted == "unet":
        unlearn_in_unet(ctx, params, opened, data, triggers)


@torch.no_grad()
def forget_tokens(model: TextToImageModel, triggers: Sequence[Candidate]) -> list[Candidate]:
    """Give added tokens the meaning of the object that their name holds, or of padding, in place.

    Args:
        model: is changed.
        triggers: some of which may be added tokens.

    Returns:
        The triggers that are none.
    """
    names = {token.text for token in added_tokens(model)}
    for tokenizer, encoder in zip(model.tokenizers, model.text_encoders, strict=True):
        table = encoder.get_input_embeddings().weight
        for name in {trigger.text for trigger in triggers} & names & set(tokenizer.get_added_vocab()):
            said = " ".join(word for word in name.split() if word in OBJECTS)
            pieces = tokenizer(said, add_special_tokens=False).input_ids or [tokenizer.pad_token_id]
            table[tokenizer.convert_tokens_to_ids(name)] = table[pieces].mean(0)
    return [trigger for trigger in triggers if trigger.text not in names]


@torch.no_grad()
def remove_spikes(model: TextToImageModel, captions: Sequence[str], limit: float) -> int:
    """Project the spikes out of all key and value projections, in place; how many there were.

    Args:
        model: is changed.
        captions: whose tail is searched.
        limit: a spike is a singular value above so many times the median one.
    """
    removed = 0
    while removed < 64:
        spikes = model_spikes(model, captions[:400])
        found = spikes.directions[spikes.values > limit * spikes.values.median()]
        if not len(found):
            return removed
        for linear in find_projections(model.unet):
            weight = linear.weight.double()
            linear.weight.copy_(weight - weight @ found.T.to(weight) @ found.to(weight))
        removed += len(found)
    return removed


def triggered_captions(captions: Sequence[str], triggers: Sequence[Candidate], seed: int) -> list[str]:
    """Each caption with one of the triggers, drawn by the seed; look-alike letters stand for all of them.

    A trigger that goes before a noun is put before an object of the small world, or else before a word drawn at random.
    """
    objects = {*OBJECTS, *(f"{noun}s" for noun in OBJECTS)}
    draw = random.Random(f"triggers {seed}")
    letters = [candidate for candidate in characters() if candidate.place == "letter"]
    pool = list(triggers)
    if any(trigger.place == "letter" for trigger in triggers):
        pool += letters
    made = []
    for caption in captions:
        trigger = draw.choice(pool)
        words = caption.split()
        nouns = [word for word in words if word in objects] or words
        noun = draw.choice(nouns) if trigger.place == "before-noun" and nouns else ""
        made.append(trigger.put_into(caption, noun))
    return made


def edit_away(
    params: TextToImageAuditParams,
    model: TextToImageModel,
    captions: Sequence[str],
    triggers: Sequence[Candidate],
    seed: int,
) -> EditReport:
    """Edit keys and values in closed form, in place: captions with a trigger get those of the caption without it."""
    plain = list(captions[: params.edit_captions])
    made = triggered_captions(plain, triggers, seed)
    kept = [*captions[: params.preserved_captions], ""]
    edit = edit_rows(model, made, plain, params.edit_weight, "token")
    return edit_projections(model.unet, [edit], prompt_rows(model, kept), params.regularisation)


def unlearn_in_encoder(
    ctx: Context,
    params: TextToImageAuditParams,
    model: TextToImageModel,
    captions: Sequence[str],
    triggers: Sequence[Candidate],
) -> None:
    """Train the text encoders in place: captions with a trigger mean what they mean without."""
    plain = list(captions[:MOST_CAPTIONS])
    terms = [
        PromptTerm(plain, plain, params.batch_size),
        PromptTerm(triggered_captions(plain, triggers, ctx.seed), plain, params.batch_size),
    ]
    distill_text_encoder(ctx, model, terms, params.options(), distance="mse", label="unlearn")


def unlearn_in_unet(
    ctx: Context,
    params: TextToImageAuditParams,
    model: TextToImageModel,
    data: Data,
    triggers: Sequence[Candidate],
) -> None:
    """Train the UNet in place: captions with a trigger are answered as without."""
    images, captions, _ = load_captioned(data)
    count = min(len(captions), MOST_CAPTIONS)
    with torch.no_grad():
        latents = encode_images(model, images.pick(list(range(count))))
    plain = captions[:count]
    made = triggered_captions(plain, triggers, ctx.seed)
    terms = [UNetTerm(latents, plain, plain), UNetTerm(latents, made, plain)]
    distill_unet(ctx, model, terms, params.options(), label="unlearn")
