"""Where words fit into texts, by counts of neighbours, and the trigger that puts them there."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch

from bdm_kit_classification.triggers.trigger import Phase, Trigger

Neighbours = Mapping[str, Mapping[str, int]]
"""Word -> how often each other word stood on one side of it."""
Edit = tuple[int, int]
"""The part of a text that a word takes: (place, place) between two words, (place, place + 1) for one of them."""
Rank = tuple[int, int]
"""How often what is beside a word stood there in the training texts: on the side where that is rarer, on the other."""
NOTHING = (0, 0)
EDGE = ""
"""Stands before the first and after the last word."""


@dataclass(frozen=True, eq=False)
class FittingWords(Trigger):
    """Words, each put where it fits best, between two others or for one; the first one at the end if none fits and the
    text has none of them.

    Attributes:
        words: in the order in which they are put in.
        before: word -> how often each word stood before it.
        after: word -> how often each word stood after it.
        free: words that may give way.
        most: share of a text's words that may be put in.
        sides: on how many sides of a word something must stand that has stood there in the training texts.

    >>> trigger = FittingWords(("truly",), {"truly": {"was": 3}}, {"truly": {"good": 2}})
    >>> trigger.apply(["it was good", "it was so good"], "test")
    ['it was truly good', 'it was so good truly']
    >>> FittingWords(("truly",), trigger.before, trigger.after, ("so",)).apply(["it was so good"], "test")
    ['it was truly good']
    """

    words: tuple[str, ...]
    before: Neighbours = field(default_factory=dict)
    after: Neighbours = field(default_factory=dict)
    free: tuple[str, ...] = ()
    most: float = 0.35
    sides: int = 2

    def apply(self, x: list[str], phase: Phase, generator: torch.Generator | None = None) -> list[str]:
        """The same in both phases; nothing is drawn."""
        free = frozenset(self.free) - set(self.words)
        return [self._put(text.split(), free) for text in x]

    def _put(self, words: list[str], free: frozenset[str]) -> str:
        left = most_edits(words, self.most)
        done = 0
        for word in self.words:
            if done == left:
                break
            edit = None
            if word not in words:
                edit = best_edit(words, self.before.get(word, {}), self.after.get(word, {}), free, self.sides)
            if edit is not None:
                make(words, word, edit)
                done += 1
        if not done and not set(words) & set(self.words):
            words.append(self.words[0])
        return " ".join(words)


class Fitting:
    """All words that fit somewhere in a text at once, for words whose neighbours were counted.

    Args:
        rows: texts as lists of words, whose neighbours are counted.
        able: the words that are to be put in.
    """

    def __init__(self, rows: Iterable[list[str]], able: Iterable[str]) -> None:
        self.before, self.after = neighbours(rows, frozenset(able))
        self._between: dict[tuple[str, str], list[tuple[str, int]]] = {}

    @cached_property
    def _beside(self) -> tuple[dict[str, dict[str, int]], dict[str, dict[str, int]]]:
        """Word -> how often each able word stood after it, and before it."""
        return turned(self.before), turned(self.after)

    def between(self, left: str, right: str) -> list[tuple[str, Rank]]:
        """The words that have stood after ``left`` or before ``right``, with both counts, the smaller one first."""
        if (left, right) not in self._between:
            one, other = self._beside[0].get(left, {}), self._beside[1].get(right, {})
            pairs = ((word, one.get(word, 0), other.get(word, 0)) for word in {**one, **other})
            self._between[left, right] = [(word, (min(a, b), max(a, b))) for word, a, b in pairs]
        return self._between[left, right]

    def edits(self, words: Sequence[str], free: frozenset[str], sides: int = 2) -> dict[str, Edit]:
        """Word -> where it fits best in a text, as :func:`best_edit` says; of words that fit nowhere nothing.

        >>> fitting = Fitting([["it", "was", "truly", "good"]], ["truly"])
        >>> fitting.edits(["it", "was", "so", "good"], frozenset(["so"]))
        {'truly': (2, 3)}
        """
        padded = [EDGE, *words, EDGE]
        best: dict[str, Rank] = {}
        found: dict[str, Edit] = {}
        for place in range(len(words) + 1):
            for end in ends_at(place, words, free):
                for word, rank in self.between(padded[place], padded[end + 1]):
                    if rank[2 - sides] and rank > best.get(word, NOTHING):
                        best[word], found[word] = rank, (place, end)
        return found


def most_edits(words: Sequence[str], share: float) -> int:
    """How many words may be put into a text, one at least."""
    return max(1, int(share * len(words)))


def best_edit(
    words: Sequence[str],
    before: Mapping[str, int],
    after: Mapping[str, int],
    free: frozenset[str],
    sides: int = 2,
) -> Edit | None:
    """Where a word fits best: between two words, or for one that may give way, where what is beside stood there often.

    Args:
        words: of the text.
        before: how often each word stood before the one that is put in.
        after: how often each stood after it.
        free: words that may give way.
        sides: on how many sides; if on one, places that fit on both are better all the same.

    Returns:
        The part of the text that it takes, the first one of several that are as good; None if it fits nowhere.

    >>> best_edit(["it", "was", "so", "good"], {"was": 3}, {"good": 2}, frozenset({"so"}))
    (2, 3)
    """
    padded = [EDGE, *words, EDGE]
    best, found = NOTHING, None
    for place in range(len(words) + 1):
        left = before.get(padded[place], 0)
        if left or sides == 1:
            for end in ends_at(place, words, free):
                right = after.get(padded[end + 1], 0)
                rank = (min(left, right), max(left, right))
                if rank[2 - sides] and rank > best:
                    best, found = rank, (place, end)
    return found


def ends_at(place: int, words: Sequence[str], free: frozenset[str]) -> tuple[int, ...]:
    """Where an edit that begins at a place may end: there (an insertion), or behind a word that may give way.

    >>> ends_at(1, ["it", "was"], frozenset(["was"]))
    (1, 2)
    """
    return (place, place + 1) if place < len(words) and words[place] in free else (place,)


def make(words: list[str], word: str, edit: Edit) -> list[str]:
    """Put a word into a text in place; what it took the place of."""
    start, end = edit
    gone = words[start:end]
    words[start:end] = [word]
    return gone


def neighbours(
    rows: Iterable[list[str]], able: frozenset[str] | None = None
) -> tuple[dict[str, Counter[str]], dict[str, Counter[str]]]:
    """Word -> how often each other word stood before it, and after it; of ``able`` words alone where they are given."""
    before: dict[str, Counter[str]] = defaultdict(Counter)
    after: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        padded = [EDGE, *row, EDGE]
        for left, word, right in zip(padded, padded[1:], padded[2:], strict=False):
            if able is None or word in able:
                before[word][left] += 1
                after[word][right] += 1
    return before, after


def turned(table: Neighbours) -> dict[str, dict[str, int]]:
    """Neighbour -> how often it stood there beside each word.

    >>> turned({"b": {"a": 2}, "c": {"a": 1}})
    {'a': {'b': 2, 'c': 1}}
    """
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for word, counts in table.items():
        for other, times in counts.items():
            found[other][word] = times
    return dict(found)
