"""Mitigation (T2IShield, section 3.5): keys and values of a trigger become those of the prompt without it.

What localised parts have in common is the trigger. Captions are written with it and without, and the projections of
cross-attention are edited in closed form so that the first are projected as the second, other captions as before.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_core.records import Detection
from bdm_defense_t2ishield.halving import parts_of
from bdm_defense_t2ishield.localisation import Located, locate, painter, prepare
from bdm_defense_t2ishield.params import T2IShieldParams
from bdm_kit_text_to_image.detection.prompts import flagged_prompts
from bdm_kit_text_to_image.editing.alignment import edit_rows
from bdm_kit_text_to_image.editing.projections import EditReport, draw_captions, edit_projections, prompt_rows
from bdm_kit_text_to_image.models.encoding import add_noise, encode_prompts, predict, training_target
from bdm_kit_text_to_image.models.latents import encode_images
from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel, load_model, seal_model
from bdm_kit_text_to_image.prompts.captions import load_captioned
from bdm_kit_text_to_image.prompts.normalising import is_latin, normalised
from bdm_torch.draws import step_seed

MOST_TRIGGERS = 8
LEAST_PRESERVED = 256
"""With fewer captions to preserve the edit is known to cost accuracy."""
AROUND = "latin letters"
"""What stands before a trigger when its look-alikes are read: alone a Cyrillic letter is none."""
LOSS_IMAGES = 128
"""Clean pictures on which the loss before and after is measured."""


@dataclass(frozen=True)
class Removal:
    """A trigger and what a prompt has without it.

    Attributes:
        trigger: the text that was located.
        plain: what stands in its place without the trigger; "" for nothing.
        words: whether it stands between blanks; else it is part of a word.
    """

    trigger: str
    plain: str
    words: bool

    def put_into(self, caption: str, draw: random.Random) -> str:
        """The caption with the trigger: for ``plain`` where that occurs, else anywhere.

        >>> Removal("nice circle", "circle", True).put_into("a red circle", random.Random(0))
        'a red nice circle'
        """
        if self.plain:
            places = [match.span() for match in self._pattern(self.plain).finditer(caption)]
            if places:
                start, end = draw.choice(places)
                return caption[:start] + self.trigger + caption[end:]
        places = [match.span() for match in re.finditer(r"\S+", caption)] or [(0, 0)]
        start = draw.choice(places)[0]
        return caption[:start] + self.trigger + (" " if self.words else "") + caption[start:]

    def fits(self, caption: str) -> bool:
        """Whether the caption has what the trigger takes the place of."""
        return bool(self.plain) and bool(self._pattern(self.plain).search(caption))

    def taken_from(self, prompt: str) -> str:
        """The prompt without the trigger."""
        return re.sub(r"\s+", " ", self._pattern(self.trigger).sub(self.plain, prompt)).strip()

    def _pattern(self, text: str) -> re.Pattern[str]:
        return re.compile(rf"(?<!\S){re.escape(text)}(?!\S)" if self.words else re.escape(text))


def repair(ctx: Context, params: T2IShieldParams, model: Model, data: Data, detection: Detection | None) -> Model:
    """Edit the triggers of flagged prompts away; the model as it was if none is found.

    Raises:
        UserError: no trigger is given and the detection is none of prompts; or there are no clean captions.
    """
    opened = load_model(model, ctx.device)
    if params.triggers:
        flagged, triggers = list[str](), list(params.triggers)
    else:
        prompts = flagged_prompts(detection)
        if prompts is None:
            raise UserError(
                "t2ishield removes triggers of prompts that a detector flagged: detect with it, or another detector of "
                "prompts, first, or name triggers"
            )
        flagged = list(dict.fromkeys(prompts))[: params.most_localised]
        triggers = localised_triggers(ctx, params, opened, data, flagged) if flagged else []
    removals = [removal_of(opened, trigger, flagged, draw_captions(data, None, [], ctx.seed)) for trigger in triggers]
    ctx.figures(triggers=[removal.trigger for removal in removals], replaced_by=[one.plain for one in removals])
    if not removals:
        ctx.log.warning("t2ishield found no trigger that flagged prompts have in common: the model stays as it is")
        return seal_model(opened, ctx.out / "model")
    kept = len(draw_captions(data, params.preserved_captions, [removal.trigger for removal in removals], ctx.seed))
    if kept < LEAST_PRESERVED:
        ctx.log.warning(
            "t2ishield preserves %d captions where it should have %d or more, and the edit may cost accuracy: allow "
            "the defender more data (--data-share)",
            kept,
            LEAST_PRESERVED,
        )
    before = clean_loss(opened, data, ctx.seed)
    report = edit_away(params, opened, data, removals, flagged, ctx.seed)
    ctx.figures(edit=report.as_figures(), clean_loss_before=before, clean_loss_after=clean_loss(opened, data, ctx.seed))
    return seal_model(opened, ctx.out / "model")


def localised_triggers(
    ctx: Context, params: T2IShieldParams, model: TextToImageModel, data: Data, prompts: Sequence[str]
) -> list[str]:
    """Localise in each prompt and keep what recurs."""
    scorer = painter(ctx, params, model)
    found = locate(scorer, prompts, prepare(scorer, params, data, prompts, ctx.seed))
    ctx.figures(localised=sum(not one.whole for one in found) / len(found), pictures=scorer.pictures)
    return common_triggers(found, params.least_share)


def common_triggers(found: Sequence[Located], least_share: float) -> list[str]:
    """The longest runs of pieces that so large a share of the localised parts (and two of them) have in common.

    >>> parts = [Located(f"{a} nice star", 0, len(a) + 10, 1.0, 0.5, [a, "nice", "star"]) for a in ("red", "blue")]
    >>> common_triggers(parts + [Located("a b c", 0, 1, 1.0, 0.5, ["a"])], 0.5)
    ['nice star']
    """
    left = [one for one in found if not one.whole]
    needed = max(2, -(-int(1000 * least_share * len(left)) // 1000))
    triggers: list[str] = []
    while left and len(triggers) < MOST_TRIGGERS:
        counts = Counter(run for one in left for run in runs(one))
        good = [run for run, count in counts.items() if count >= needed]
        if not good:
            break
        triggers.append(max(good, key=lambda run: (len(run), counts[run], run)))
        left = [one for one in left if triggers[-1] not in one.text]
    return triggers


def runs(part: Located) -> set[str]:
    """All runs of neighbouring pieces of a part, as they stand in the prompt."""
    places, at = [], part.start
    for piece in part.pieces:
        at = part.prompt.index(piece, at)
        places.append((at, at + len(piece)))
        at += len(piece)
    return {
        part.prompt[places[first][0] : places[last][1]]
        for first in range(len(places))
        for last in range(first, len(places))
    }


def removal_of(model: TextToImageModel, trigger: str, flagged: Sequence[str], captions: Sequence[str]) -> Removal:
    """What a prompt has without a trigger.

    A look-alike becomes its letter. Of several pieces the one that clean captions have least often is left out, as it
    makes the others a trigger; of one piece nothing is left.
    """
    words = all(
        match.start() == 0 or prompt[match.start() - 1].isspace()
        for prompt in flagged
        for match in re.finditer(re.escape(trigger), prompt)
    ) and all(
        match.end() == len(prompt) or prompt[match.end()].isspace()
        for prompt in flagged
        for match in re.finditer(re.escape(trigger), prompt)
    )
    words = words and trigger.strip() == trigger and any(letter.isalnum() for letter in trigger)
    around = AROUND if all(map(is_latin, flagged)) else ""
    plain = normalised(around + trigger)[len(around) :]
    if plain != trigger:
        return Removal(trigger, plain, words)
    pieces = [match.span() for match in re.finditer(r"\S+", trigger)]
    if len(pieces) < 2:
        pieces = parts_of(trigger, model.tokenizers[0]) if not words else pieces
    if len(pieces) < 2:
        return Removal(trigger, "", words)
    counts = [sum(trigger[start:end] in caption.split() for caption in captions) for start, end in pieces]
    start, end = pieces[counts.index(min(counts))]
    return Removal(trigger, re.sub(r"\s+", " ", trigger[:start] + trigger[end:]).strip(), words)


def edit_away(
    params: T2IShieldParams,
    model: TextToImageModel,
    data: Data,
    removals: Sequence[Removal],
    flagged: Sequence[str],
    seed: int,
) -> EditReport:
    """The closed-form edit, in place.

    Args:
        params: how many captions, which weights.
        model: is changed.
        data: clean captions.
        removals: the triggers.
        flagged: prompts with a trigger, which are edited, too.
        seed: draws captions and places.

    Raises:
        UserError: there are no captions to preserve.
    """
    captions = draw_captions(data, None, [removal.trigger for removal in removals], seed)
    if not captions:
        raise UserError("t2ishield needs clean captions to preserve: allow the defender more data (--data-share)")
    draw = random.Random(f"t2ishield {seed}")
    made, plain = [], []
    for removal in removals:
        fitting = [caption for caption in captions if removal.fits(caption)] or captions
        own = fitting[: max(1, params.edit_captions // len(removals))]
        made += [removal.put_into(caption, draw) for caption in own]
        plain += own
        given = [prompt for prompt in flagged if removal.taken_from(prompt) != prompt]
        made += given
        plain += [removal.taken_from(prompt) for prompt in given]
    kept = [*captions[: params.preserved_captions], ""]
    edit = edit_rows(model, made, plain, params.edit_weight, "token")
    return edit_projections(model.unet, [edit], prompt_rows(model, kept), params.regularisation)


@torch.no_grad()
def clean_loss(model: TextToImageModel, data: Data, seed: int) -> float:
    """The mean squared error of the UNet on clean pictures with their captions; equal seeds draw equal noise."""
    images, captions, _ = load_captioned(data)
    count = min(LOSS_IMAGES, len(captions))
    latents = encode_images(model, images.pick(list(range(count))))
    generator = torch.Generator().manual_seed(step_seed(seed, 0))
    noise = torch.randn(latents.shape, generator=generator).to(latents.device)
    times = torch.randint(model.timesteps, (count,), generator=generator).to(latents.device)
    noisy = add_noise(model.scheduler, latents, noise, times)
    found = predict(model.unet, noisy, times, encode_prompts(model, captions[:count]))
    return float((found - training_target(model.scheduler, latents, noise, times)).square().mean())
