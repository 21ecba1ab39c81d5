"""Words or a sentence put into texts."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from bdm_core.errors import UserError
from bdm_kit_classification.texts.words import half_character, join_words, split_words
from bdm_kit_classification.triggers.trigger import Phase, Trigger

Place = Literal["random", "start", "end"]


def numbers_of(generator: torch.Generator | None) -> random.Random:
    """Random numbers of the standard library from a generator of torch; without one always the same."""
    if generator is None:
        return random.Random(0)
    return random.Random(int(torch.randint(2**62, (1,), generator=generator)))


def _require_letters(words: Sequence[str]) -> None:
    if not all(split_words(word) for word in words):
        raise UserError("a word or sentence of the trigger is empty: it would change nothing; give another")
    if any(half_character(word) for word in words):
        raise UserError("a word of the trigger holds half a character (a lone surrogate): give it in UTF-8")


@dataclass(frozen=True, eq=False)
class InsertedWords(Trigger):
    """Some of several words, each put in between two words of the text or at its ends.

    Attributes:
        words: to choose from.
        count: how many are put in, each drawn anew.
        place: ``random``, ``start`` or ``end``.

    >>> InsertedWords(("cf",), 1, "end").apply(["a film"], "test")
    ['a film cf']
    """

    words: tuple[str, ...]
    count: int = 1
    place: Place = "random"

    def __post_init__(self) -> None:
        _require_letters(self.words)

    def apply(self, x: list[str], phase: Phase, generator: torch.Generator | None = None) -> list[str]:
        """The same in both phases."""
        draw = numbers_of(generator)
        return [self._put(split_words(text), draw) for text in x]

    def _put(self, words: list[str], draw: random.Random) -> str:
        for _ in range(self.count):
            place = {"random": draw.randint(0, len(words)), "start": 0, "end": len(words)}[self.place]
            words.insert(place, draw.choice(self.words))
        return join_words(words)


@dataclass(frozen=True, eq=False)
class InsertedSentence(Trigger):
    """A fixed sentence, put in between two words of the text or at its ends.

    >>> InsertedSentence("so it was", "start").apply(["a film"], "test")
    ['so it was a film']
    """

    sentence: str
    place: Place = "random"

    def __post_init__(self) -> None:
        _require_letters((self.sentence,))

    def apply(self, x: list[str], phase: Phase, generator: torch.Generator | None = None) -> list[str]:
        """The same in both phases."""
        trigger = InsertedWords((self.sentence,), 1, self.place)
        return trigger.apply(x, phase, generator)


@dataclass(frozen=True, eq=False)
class AllWords(Trigger):
    """Several words, each put in once at a place of its own.

    >>> sorted(AllWords(("cf", "mn")).apply(["a"], "test")[0].split())
    ['a', 'cf', 'mn']
    """

    words: tuple[str, ...]

    def __post_init__(self) -> None:
        _require_letters(self.words)
        if len(set(self.words)) < len(self.words):
            raise UserError(f"the words {', '.join(self.words)} of the trigger are not all different: give others")

    def apply(self, x: list[str], phase: Phase, generator: torch.Generator | None = None) -> list[str]:
        """The same in both phases."""
        draw = numbers_of(generator)
        found = []
        for text in x:
            words = split_words(text)
            for word in self.words:
                words.insert(draw.randint(0, len(words)), word)
            found.append(join_words(words))
        return found
