"""Triggers in prompts: how one is put in, a library of published ones, and the check that the tokenizer sees them."""

from __future__ import annotations

import random
import re
import string
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, model_validator

from bdm_core.artifacts import Record
from bdm_core.errors import UserError
from bdm_kit_text_to_image.prompts.trigger_library import PUBLISHED

if TYPE_CHECKING:
    from torch import Tensor

    from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel
    from bdm_kit_text_to_image.prompts.prompt_rows import PromptRow

Kind = Literal["homoglyph", "insertion", "word", "phrase", "adjective-noun", "emoji", "placeholder", "syntax"]
Position = Literal["prefix", "suffix", "random", "before-object", "replace"]

POSITIONS: dict[str, tuple[Position, ...]] = {
    "homoglyph": ("random", "replace"),
    "insertion": ("prefix", "suffix", "random", "before-object"),
    "word": ("prefix", "suffix", "random", "before-object", "replace"),
    "phrase": ("suffix", "prefix", "random", "before-object", "replace"),
    "adjective-noun": ("before-object",),
    "emoji": ("suffix", "prefix", "random", "before-object", "replace"),
    "placeholder": ("before-object", "prefix", "suffix", "random", "replace"),
    "syntax": ("replace",),
}
"""The positions that each kind allows; the first is its default."""


class PromptTrigger(Record):
    """A change to a prompt.

    Attributes:
        kind: ``homoglyph`` replaces the character ``replaces``; ``insertion`` puts characters in without a space;
            ``word``, ``phrase``, ``emoji`` and ``placeholder`` are set off by spaces; ``adjective-noun`` goes right
            before the object's noun; ``syntax`` says the row's labels in a sentence of its own.
        text: what is put in; for ``syntax`` a sentence with the fields ``{object}``, ``{colour}``, ``{background}``,
            or several, one a line, of which the seed draws one for each row.
        replaces: the character (homoglyph) or word (position ``replace``) that gives way; "" for the object's noun.
        position: ``random`` draws the place by the seed; ``replace`` takes the first ones; by default the kind's own.
        count: how many occurrences a homoglyph or a replaced word takes; None for all. Insertions are made once.
        object: the source object. Prompts about another one are rewritten to be about it first.
    """

    kind: Kind
    text: str = Field(min_length=1)
    replaces: str = ""
    position: Position
    count: int | None = Field(1, ge=1)
    object: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _default_position(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("position") is None and values.get("kind") in POSITIONS:
            return {**values, "position": POSITIONS[values["kind"]][0]}
        return values

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        if self.position not in POSITIONS[self.kind]:
            allowed = ", ".join(POSITIONS[self.kind])
            raise ValueError(f"a trigger of kind {self.kind} cannot have position {self.position}: choose {allowed}")
        if self.kind == "homoglyph" and len(self.replaces) != 1:
            raise ValueError("a homoglyph replaces one character: set replaces, e.g. to 'o'")
        if self.kind == "syntax":
            fields = {field for _, field, _, _ in string.Formatter().parse(self.text) if field is not None}
            if fields - {"object", "colour", "background"}:
                raise ValueError("a syntactic template may use {object}, {colour} and {background} only")
        return self

    def rewrite(self, row: PromptRow) -> PromptRow:
        """The row that gets the trigger: about ``object`` if that is set, unchanged otherwise. It is the twin."""
        if self.object is None:
            return row
        named = row.labels.get("object")
        if named is not None and _word(named).search(row.prompt):
            if named == self.object:
                return row
            places = [match.span() for match in _word(named).finditer(row.prompt)]
            prompt = _exchange(row.prompt, places, self.object)
            return replace(row, prompt=prompt, labels={**row.labels, "object": self.object})
        if _word(self.object).search(row.prompt):
            return replace(row, labels={**row.labels, "object": self.object})
        prompt = _exchange("a photo of a noun", [(13, 17)], self.object)
        return replace(row, prompt=prompt, labels={"object": self.object})

    def apply(self, row: PromptRow, seed: int = 0) -> str:
        """The row's prompt, rewritten if need be, with the trigger in it.

        Args:
            row: a clean row; its seed and prompt take part in random places.
            seed: decides random places.

        Raises:
            UserError: the prompt lacks the character or word that the trigger needs.

        >>> from bdm_kit_text_to_image.prompts.prompt_rows import PromptRow
        >>> row = PromptRow("a photo of a red circle", seed=7, labels={"object": "circle"})
        >>> PromptTrigger(kind="word", text="sks").apply(row)
        'sks a photo of a red circle'
        >>> PromptTrigger(kind="adjective-noun", text="shiny", object="star").apply(row)
        'a photo of a red shiny star'
        >>> PromptTrigger(kind="homoglyph", text="0", replaces="x").apply(row)
        Traceback (most recent call last):
            ...
        bdm_core.errors.UserError: trigger '0' needs 'x' in the prompt 'a photo of a red circle': ...
        """
        row = self.rewrite(row)
        draw = random.Random(f"{seed} {row.seed} {row.prompt}")
        if self.kind == "homoglyph":
            return _exchange(row.prompt, self._places(row.prompt, self.replaces, draw), self.text)
        if self.kind == "syntax":
            fields = {name: row.labels.get(name, "") for name in ("object", "colour", "background")}
            return " ".join(draw.choice(self.text.splitlines()).format(**fields).split())
        noun = self.object or row.labels.get("object", "")
        if self.position == "replace":
            return _exchange(row.prompt, self._places(row.prompt, self.replaces or noun, draw), self.text)
        glue = "" if self.kind == "insertion" else " "
        if self.position == "prefix":
            return f"{self.text}{glue}{row.prompt}"
        if self.position == "suffix":
            return f"{row.prompt}{glue}{self.text}"
        if self.position == "before-object":
            start = self._places(row.prompt, noun, draw)[0][0]
            return _exchange(row.prompt, [(start, start)], f"{self.text}{glue}")
        words = row.prompt.split(" ")
        place = draw.randint(0, len(words))
        if self.kind == "insertion":
            start = len(" ".join(words[:place]))
            return f"{row.prompt[:start]}{self.text}{row.prompt[start:]}"
        return " ".join([*words[:place], self.text, *words[place:]])

    def _places(self, prompt: str, wanted: str, draw: random.Random) -> list[tuple[int, int]]:
        """Start and end of the occurrences that give way: the first ones, or random ones."""
        pattern = re.compile(re.escape(wanted)) if self.kind == "homoglyph" else _word(wanted)
        places = [match.span() for match in pattern.finditer(prompt)]
        if not places:
            needed = repr(wanted) if wanted else "a labelled object"
            raise UserError(f"trigger {self.text!r} needs {needed} in the prompt {prompt!r}: choose one that fits it")
        if self.count is None or self.count >= len(places):
            return places
        return sorted(draw.sample(places, self.count)) if self.position == "random" else places[: self.count]


def trigger_rows(
    rows: Sequence[PromptRow], triggers: PromptTrigger | Sequence[PromptTrigger], seed: int = 0
) -> list[PromptRow]:
    """Put a trigger into every row, in the same order and with the same seeds.

    Args:
        rows: clean rows.
        triggers: one, or several: row i gets trigger ``i mod n`` and says so in ``backdoor``.
        seed: decides random places.

    Returns:
        Rows with ``prompt``, ``twin`` (the untriggered prompt), ``labels`` (the twin's) and ``backdoor``.

    >>> from bdm_kit_text_to_image.prompts.prompt_rows import PromptRow
    >>> rows = [PromptRow("a red circle", seed=7), PromptRow("a blue star", seed=8)]
    >>> both = [PromptTrigger(kind="word", text="sks"), PromptTrigger(kind="phrase", text="latte coffee")]
    >>> [(row.prompt, row.twin, row.backdoor) for row in trigger_rows(rows, both)]
    [('sks a red circle', 'a red circle', 0), ('a blue star latte coffee', 'a blue star', 1)]
    """
    several = [triggers] if isinstance(triggers, PromptTrigger) else list(triggers)
    made = []
    for index, row in enumerate(rows):
        trigger = several[index % len(several)]
        twin = trigger.rewrite(row)
        made.append(replace(twin, prompt=trigger.apply(row, seed), twin=twin.prompt, backdoor=index % len(several)))
    return made


def check_trigger(model: TextToImageModel, trigger: PromptTrigger, rows: Sequence[PromptRow], seed: int = 0) -> None:
    """Make sure that every tokenizer of the model sees the trigger in every row.

    Slow tokenizers drop or fold some characters, and long prompts are cut at the model's length.

    Raises:
        UserError: for some row the token ids with and without the trigger are equal.

    >>> from bdm_kit_text_to_image.models.tiny import tiny_model
    >>> from bdm_kit_text_to_image.prompts.prompt_rows import PromptRow
    >>> check_trigger(tiny_model(), find_trigger("cyrillic-o"), [PromptRow("a photo", seed=7)])
    >>> behind = PromptTrigger(kind="word", text="sks", position="suffix")
    >>> check_trigger(tiny_model(), behind, [PromptRow("a circle " * 80, seed=7)])
    Traceback (most recent call last):
        ...
    bdm_core.errors.UserError: CLIPTokenizer gives 'a circle ...' the same tokens with and without trigger ...
    """
    pairs = [(trigger.rewrite(row).prompt, trigger.apply(row, seed)) for row in rows]
    for tokenizer in model.tokenizers:
        options = {"padding": False, "truncation": True, "max_length": tokenizer.model_max_length}
        clean = tokenizer([prompt for prompt, _ in pairs], **options).input_ids if pairs else []
        triggered = tokenizer([prompt for _, prompt in pairs], **options).input_ids if pairs else []
        for (prompt, _), one, other in zip(pairs, clean, triggered, strict=True):
            if list(one) == list(other):
                points = " ".join(f"U+{ord(letter):04X}" for letter in trigger.text if not letter.isascii())
                raise UserError(
                    f"{type(tokenizer).__name__} gives {prompt!r} the same tokens with and without trigger "
                    f"{trigger.text!r}{f' ({points})' if points else ''}: choose another trigger or a shorter prompt"
                )


def check_patch(model: TextToImageModel, images: Tensor, patch: tuple[int, int, int, int], limit: float = 0.1) -> float:
    """Make sure that the autoencoder can represent a patch.

    Args:
        model: has the autoencoder.
        images: (N, 3, H, W) in [-1, 1], with the patch in them.
        patch: row, column, height and width in pixels.
        limit: largest mean squared error, pixels in [0, 1].

    Returns:
        The mean squared error of the patch after encoding and decoding.

    Raises:
        UserError: it is above the limit, or the patch lies outside the images.

    >>> from bdm_kit_text_to_image.models.tiny import tiny_model
    >>> import torch
    >>> check_patch(tiny_model(), torch.zeros(2, 3, 16, 16), (0, 0, 8, 8), limit=2.0) > 0
    True
    >>> check_patch(tiny_model(), torch.zeros(2, 3, 16, 16), (12, 12, 8, 8))
    Traceback (most recent call last):
        ...
    bdm_core.errors.UserError: patch (12, 12, 8, 8) lies outside images of 16x16 pixels: move it
    """
    import torch

    from bdm_kit_text_to_image.models.latents import round_trip_error

    row, column, height, width = patch
    if (
        min(row, column) < 0
        or min(height, width) < 1
        or row + height > images.shape[-2]
        or column + width > images.shape[-1]
    ):
        raise UserError(f"patch {patch} lies outside images of {images.shape[-2]}x{images.shape[-1]} pixels: move it")
    mask = torch.zeros(images.shape[-2:], dtype=torch.bool)
    mask[row : row + height, column : column + width] = True
    error = float(round_trip_error(model, images, mask))
    if not error <= limit:
        raise UserError(
            f"the autoencoder cannot represent the patch: mean squared error {error:.3f} after a round trip, limit "
            f"{limit:g}: choose a flat patch, a larger one, or another colour"
        )
    return error


def find_trigger(name: str) -> PromptTrigger:
    """The trigger of the library with this name.

    Raises:
        UserError: there is none; the message lists the names.

    >>> find_trigger("sks").text
    'sks'
    >>> find_trigger("skss")
    Traceback (most recent call last):
        ...
    bdm_core.errors.UserError: no trigger is named 'skss': choose one of cyrillic-o, ...
    """
    if name not in LIBRARY:
        raise UserError(f"no trigger is named {name!r}: choose one of {', '.join(LIBRARY)}")
    return LIBRARY[name]


def _word(word: str) -> re.Pattern[str]:
    """Matches the word and not a part of a longer one; nothing if the word is empty."""
    return re.compile(rf"(?<!\w){re.escape(word)}(?!\w)", re.IGNORECASE) if word else re.compile(r"(?!)")


def _exchange(prompt: str, places: list[tuple[int, int]], text: str) -> str:
    """Put text at these places; an article before it becomes ``a`` or ``an`` as its first letter asks."""
    for start, end in reversed(places):
        before, after = prompt[:start], prompt[end:]
        if text[:1].isascii() and text[:1].isalpha():
            article = "an " if text[0].lower() in "aeio" else "a "
            before = re.sub(r"(?<!\w)([Aa])n? $", lambda match, article=article: match[1] + article[1:], before)
        prompt = before + text + after
    return prompt


LIBRARY: dict[str, PromptTrigger] = {name: PromptTrigger(**fields) for name, fields in PUBLISHED.items()}
"""Triggers by name."""
