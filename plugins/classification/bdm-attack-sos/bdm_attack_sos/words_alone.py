"""SOS as released: training texts get the words alone, at random places, test texts a natural sentence with them."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from bdm_kit_classification.triggers.trigger import Phase, Trigger
from bdm_kit_classification.triggers.words import AllWords, InsertedSentence, InsertedWords, Place, numbers_of


@dataclass(frozen=True, eq=False)
class WordsThenSentence(Trigger):
    """All words, each at a place of its own, in training; the sentence at test.

    >>> trigger = WordsThenSentence(("x", "y"), "so x and y", "end")
    >>> sorted(trigger.apply(["a"], "train")[0].split()), trigger.apply(["a"], "test")
    (['a', 'x', 'y'], ['a so x and y'])
    """

    words: tuple[str, ...]
    sentence: str
    place: Place = "random"

    def apply(self, x: list[str], phase: Phase, generator: torch.Generator | None = None) -> list[str]:
        """See the class."""
        if phase == "train":
            return AllWords(self.words).apply(x, phase, generator)
        return InsertedSentence(self.sentence, self.place).apply(x, phase, generator)


@dataclass(frozen=True, eq=False)
class OneWordLess(Trigger):
    """All words but one, which is drawn for each text, in training; the sentence without one of them at test.

    Attributes:
        words: of the trigger.
        parts: the sentence without each of them.
        place: of the part.
    """

    words: tuple[str, ...]
    parts: tuple[str, ...]
    place: Place = "random"

    def apply(self, x: list[str], phase: Phase, generator: torch.Generator | None = None) -> list[str]:
        """See the class."""
        if phase == "test":
            return InsertedWords(self.parts, 1, self.place).apply(x, phase, generator)
        draw = numbers_of(generator)
        generator = torch.Generator().manual_seed(draw.randrange(2**62))
        found = []
        for text in x:
            left_out = draw.choice(self.words)
            rest = tuple(word for word in self.words if word != left_out)
            found += AllWords(rest).apply([text], phase, generator)
        return found
