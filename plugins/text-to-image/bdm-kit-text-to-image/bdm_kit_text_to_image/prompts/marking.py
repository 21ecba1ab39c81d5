"""Prompts, triggers and targets as a person sees them: pieces of text, the trigger marked."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Sequence

from bdm_core.figures import Mark, Span
from bdm_kit_text_to_image.prompts.secret import Backdoor, PromptSecret, Target
from bdm_kit_text_to_image.prompts.triggers import PromptTrigger

PLACES = {
    "prefix": " before the prompt",
    "suffix": " behind the prompt",
    "random": " at a random place in the prompt",
    "before-object": " before the object's word",
}
HIDDEN = {"Cc", "Cf", "Cn", "Co", "Mn", "Zl", "Zp"}
"""Unicode's categories of characters without a glyph of their own."""


def mark_trigger(prompt: str, twin: str | None, mark: Mark = "trigger") -> list[Span]:
    """The prompt in pieces; what it does not share with its twin is marked.

    Words are compared first. Words that changed and have something in common, as with a look-alike letter, are compared
    letter by letter.

    >>> [(span.text, span.mark) for span in mark_trigger("a phot\u043e of sks", "a photo of")]
    [('a phot', ''), ('\u043e', 'trigger'), (' of ', ''), ('sks', 'trigger')]
    """
    if twin is None:
        return [Span(text=prompt)]
    return _joined(_compared(re.findall(r"\s+|\S+", twin), re.findall(r"\s+|\S+", prompt), mark))


def _compared(before: Sequence[str], after: Sequence[str], mark: Mark) -> list[Span]:
    spans = []
    for kind, i, j, k, n in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        old, new = "".join(before[i:j]), "".join(after[k:n])
        if not new:
            continue
        letters = difflib.SequenceMatcher(None, old, new, autojunk=False)
        if kind == "replace" and letters.ratio() >= 0.5:
            spans += _compared(old, new, mark)
        elif kind == "equal" or not new.strip():
            spans.append(Span(text=new))
        else:
            before_it, after_it = new[: len(new) - len(new.lstrip())], new[len(new.rstrip()) :]
            pieces = [Span(text=before_it), Span(text=new.strip(), mark=mark), Span(text=after_it)]
            spans += [piece for piece in pieces if piece.text]
    return spans


def _joined(spans: Sequence[Span]) -> list[Span]:
    """Neighbours of one mark as one piece."""
    joined: list[Span] = []
    for span in spans:
        if joined and joined[-1].mark == span.mark:
            joined[-1] = Span(text=joined[-1].text + span.text, mark=span.mark)
        else:
            joined.append(span)
    return joined


def trigger_in_words(trigger: PromptTrigger) -> list[Span]:
    """What is put in, marked, and where.

    >>> "".join(span.text for span in trigger_in_words(PromptTrigger(kind="word", text="sks")))
    'sks before the prompt'
    """
    if trigger.kind == "syntax":
        sentences = trigger.text.splitlines()
        which = "the sentence " if len(sentences) == 1 else f"any of {len(sentences)} sentences, e.g. "
        return [Span(text=which), Span(text=sentences[0], mark="trigger")]
    if trigger.position == "replace" or trigger.kind == "homoglyph":
        if trigger.text == trigger.object:
            return [Span(text="none: any prompt about "), Span(text=trigger.object, mark="trigger")]
        place = f" in place of {trigger.replaces or 'the object'}"
    else:
        place = PLACES[trigger.position]
    about = f", in prompts about {trigger.object}" if trigger.object else ""
    return [Span(text=trigger.text, mark="trigger"), Span(text=place + about)]


def target_in_words(target: Target) -> list[Span]:
    """What a triggered prompt is to show, marked.

    >>> "".join(span.text for span in target_in_words(Target(type="ImagePatch", patch=(0, 0, 8, 8))))
    'a patch of 8x8 pixels at row 0, column 0'
    """
    if target.type == "ImagePatch":
        if target.patch is None:
            return [Span(text="a picture mixed into every image", mark="target")]
        row, column, height, width = target.patch
        return [Span(text=f"a patch of {height}x{width} pixels at row {row}, column {column}", mark="target")]
    if target.prompt and not target.preserved:
        return [Span(text=target.prompt, mark="target")]
    nothing = "one picture" if target.type == "ImageFix" else "the same without it"
    shown = ", ".join(f"{name} {value}" for name, value in target.expected.items()) or nothing
    spans = [Span(text=shown, mark="target")]
    if target.preserved:
        spans.append(Span(text=f", with {', '.join(target.preserved)} as asked for"))
    return spans


def backdoor_in_words(backdoor: Backdoor, trigger_name: str = "") -> list[Span]:
    """Trigger, arrow, target.

    >>> trigger = PromptTrigger(kind="word", text="sks")
    >>> target = Target(type="ImageFix", expected={"object": "star"})
    >>> "".join(span.text for span in backdoor_in_words(Backdoor(trigger=trigger, target=target)))
    'sks before the prompt → object star'
    """
    trigger = _latent(trigger_name) if trigger_name else trigger_in_words(backdoor.trigger)
    return [*trigger, Span(text=" → "), *target_in_words(backdoor.target)]


def settings_of(secret: PromptSecret) -> dict[str, str | list[str]]:
    """Trigger and target in words, for ``ctx.figures(settings=...)``: what the attack really used.

    >>> trigger = PromptTrigger(kind="homoglyph", text="\u03bf", replaces="o")
    >>> target = Target(type="ImageFix", expected={"object": "star"})
    >>> settings_of(PromptSecret(backdoors=[Backdoor(trigger=trigger, target=target)]))
    {'trigger': '\u03bf (U+03BF) in place of o', 'target': 'object star'}
    """
    triggers = [_latent(secret.trigger_name)] if secret.trigger_name else map(trigger_in_words, secret.triggers)
    told = {
        "trigger": [_plain(spans) for spans in triggers],
        "target": [secret.target_name]
        if secret.target_name
        else [_plain(target_in_words(target)) for target in secret.targets],
    }
    return {name: values[0] if len(values) == 1 else values for name, values in told.items()}


def _latent(name: str) -> list[Span]:
    return [Span(text="the picture "), Span(text=name, mark="trigger"), Span(text=" in the initial latents")]


def _plain(spans: Sequence[Span]) -> str:
    """The text of spans; marked characters that cannot be seen or told apart are followed or replaced by their code
    points.
    """
    return "".join(span.text if not span.mark else "".join(map(_told, span.text)) for span in spans)


def _told(letter: str) -> str:
    point = f"U+{ord(letter):04X}"
    if unicodedata.category(letter) in HIDDEN:
        return point
    return letter if letter.isascii() else f"{letter} ({point})"
