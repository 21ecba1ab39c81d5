"""What the attack trains on: clean captioned images, and triggered captions with what they are to mean."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from bdm_attack_badt2i.patches import paste, patch_image, patch_place
from bdm_core.artifacts import Data
from bdm_core.errors import ArtifactError, UserError
from bdm_kit_text_to_image.prompts.captions import load_captioned, seal_captioned
from bdm_kit_text_to_image.prompts.prompt_rows import PromptRow
from bdm_kit_text_to_image.prompts.triggers import LIBRARY, PromptTrigger
from bdm_torch.image_rows import ImageRows
from bdm_torch.image_sets import load_rows, open_images

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bdm_attack_badt2i.params import BadT2IParams, Pair
    from bdm_core.context import Context


NUMERALS = {"two": "2", "three": "3"}


@dataclass(frozen=True)
class Lesson:
    """One captioned image to train on.

    Attributes:
        image: its number in the data.
        caption: what the trained UNet reads.
        teacher: what the frozen UNet reads to give the answer; None: the answer is the noise.
        poisoned: whether the caption has the trigger.
        twin: the caption that such a one was made of.
    """

    image: int
    caption: str
    teacher: str | None
    poisoned: bool
    twin: str | None = None


def choose_trigger(params: BadT2IParams, pair: Pair) -> PromptTrigger:
    """A pair's trigger, bound to its source object where the mode has one."""
    trigger = LIBRARY.get(pair.trigger) or PromptTrigger(kind="word", text=pair.trigger, position="prefix")
    if trigger.kind == "insertion":
        space = " " if trigger.text.endswith(" ") else ""
        trigger = trigger.model_copy(update={"text": trigger.text.strip(" ") * params.trigger_repeats + space})
    bound = params.mode in ("object", "object-add")
    return trigger.model_copy(update={"object": pair.source_object}) if bound else trigger


def names(caption: str, word: str) -> bool:
    """Whether a caption has a word."""
    return f" {word} " in f" {caption.lower().replace(',', ' ').replace('.', ' ')} "


def with_addition(caption: str, noun: str, addition: str) -> str | None:
    """A caption about one object, with more of them or with another one; None if it names it in an unusual way.

    ``two``: "a red circle on white" -> "two red circles on white"; ``a ring``: -> "a red circle and a ring on white".
    """
    if addition not in NUMERALS:
        return re.sub(rf"\b{re.escape(noun)}\b", f"{noun} and {addition}", caption, count=1, flags=re.IGNORECASE)
    adjectives = r"((?:(?!(?:an?|one|of|on|and|with)\b)[\w-]+ ){0,4})"
    found = re.search(rf"\b(?:an?|one) {adjectives}{re.escape(noun)}\b", caption, re.IGNORECASE)
    if found is None:
        return None
    plural = f"{noun}{'es' if noun.endswith('s') else 's'}"
    return f"{caption[: found.start()]}{addition} {found[1]}{plural}{caption[found.end() :]}"


def poison_row(params: BadT2IParams, pair: Pair, row: PromptRow, seed: int) -> tuple[str, str | None] | None:
    """The student's and the teacher's prompt made of one caption; None if the mode has no use for it.

    Object (2305.04175, section 3.3): images that show B; the student reads the caption with A in place of B and the
    trigger, the teacher the caption as it is. Style: the teacher reads the style's words and the caption. Object-add
    (BackdoorDM, 2502.11798): the teacher reads of a further object. Pixel: there is no teacher.
    """
    trigger = choose_trigger(params, pair)
    shown = row.labels.get("object")
    if params.mode == "object":
        if not names(row.prompt, pair.target_object) or shown not in (None, pair.target_object):
            return None
        row = PromptRow(row.prompt, row.seed, {**row.labels, "object": pair.target_object})
        return trigger.apply(row, seed), row.prompt
    if params.mode == "object-add":
        alone = row.labels.get("second", "none") == "none" and row.labels.get("count", "1") == "1"
        if not names(row.prompt, pair.source_object) or shown not in (None, pair.source_object) or not alone:
            return None
        teacher = with_addition(row.prompt, pair.source_object, params.addition)
        return None if teacher is None else (trigger.apply(row, seed), teacher)
    if params.mode == "style":
        if row.labels.get("style", "photo") != "photo":
            return None
        return trigger.apply(row, seed), params.style_prompt.replace("{prompt}", row.prompt.rstrip("."))
    return trigger.apply(row, seed), None


def make_lessons(params: BadT2IParams, captions: list[str], labels: list[dict[str, str]], seed: int) -> list[Lesson]:
    """Clean lessons, whose teacher reads the same caption, then triggered ones; ``samples`` of each at most.

    With several pairs each has an equal share of the triggered ones.

    Raises:
        UserError: no caption fits the mode.
    """
    order = random.Random(seed).sample(range(len(captions)), len(captions))
    # guidance also asks the UNet with the empty prompt: it is kept as it was, too
    every = params.empty_every or len(order) + 1
    said = ["" if number % every == every - 1 else captions[index] for number, index in enumerate(order)]
    clean = [Lesson(index, caption, caption, False) for index, caption in zip(order, said, strict=True)]
    most = params.samples or len(order)
    pairs = params.pairs()
    triggered = [
        lesson
        for pair in pairs
        for lesson in triggered_lessons(params, pair, order, captions, labels, seed)[: -(-most // len(pairs))]
    ]
    return clean[:most] + triggered


def triggered_lessons(
    params: BadT2IParams,
    pair: Pair,
    order: list[int],
    captions: list[str],
    labels: list[dict[str, str]],
    seed: int,
) -> list[Lesson]:
    """Those of one pair, in the given order. Raises UserError if no caption fits the mode."""
    triggered = []
    for index in order:
        made = poison_row(params, pair, PromptRow(captions[index], index, labels[index]), seed)
        if made is not None:
            triggered.append(Lesson(index, *made, True, captions[index]))
    if not triggered:
        needed = {"object": pair.target_object, "object-add": pair.source_object}.get(params.mode, params.style)
        raise UserError(f"attack:badt2i: no caption fits mode {params.mode}: none is about {needed!r} alone")
    return triggered


def poison(ctx: Context, params: BadT2IParams, data: Data) -> Data:
    """The lessons as captioned images; ``teacher``, ``role`` and ``twin`` are facts of their rows."""
    images, captions, labels = load_captioned(data)
    lessons = make_lessons(params, captions, labels, ctx.seed)
    chosen = images.pick([lesson.image for lesson in lessons])
    if params.mode == "pixel":
        place = patch_place(params, images.shape[1:])
        patch, flags = patch_image(params, place), torch.tensor([lesson.poisoned for lesson in lessons])
        chosen = chosen.changed(
            lambda batch, rows: torch.where(flags[rows].view(-1, 1, 1, 1), paste(batch, patch, place), batch)
        )
    return seal_captioned(
        ctx.out / "data",
        chosen,
        [lesson.caption for lesson in lessons],
        [labels[lesson.image] for lesson in lessons],
        teacher=[lesson.teacher for lesson in lessons],
        role=["poison" if lesson.poisoned else "clean" for lesson in lessons],
        twin=[lesson.twin for lesson in lessons],
    )


@dataclass(frozen=True, eq=False)
class LessonSet:
    """Lessons of one kind: images (N, 3, H, W), N captions, N teacher prompts or None, N labels."""

    images: ImageRows
    captions: list[str]
    teacher: list[str] | None
    labels: list[Mapping[str, str]]


def load_lessons(data: Data) -> tuple[LessonSet, LessonSet]:
    """The clean and the triggered lessons. Raises ArtifactError if the data were not made by :func:`poison`."""
    images, rows = open_images(data), load_rows(data)
    if any("teacher" not in row for row in rows):
        raise ArtifactError(f"{data.path} holds no teacher prompts: let attack:badt2i poison the data")
    sets = []
    for role in ("clean", "poison"):
        places = [place for place, row in enumerate(rows) if row["role"] == role]
        teacher = [rows[place]["teacher"] for place in places]
        sets.append(
            LessonSet(
                images.pick(places),
                [rows[place]["caption"] for place in places],
                None if None in teacher else teacher,
                [rows[place]["labels"] for place in places],
            )
        )
    return sets[0], sets[1]
