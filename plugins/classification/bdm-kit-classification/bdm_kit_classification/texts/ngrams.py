"""A language model of counted words for perplexities without a network. Light: no torch."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

START, END = "\x02", "\x03"
"""Stand before the first and after the last word of a text, or letter of a word."""
LEAST = 1e-9
"""Probability of a letter that was never seen."""


class _Counts:
    """Next symbols by context, each order smoothed by the one below as Witten and Bell (1991) do."""

    def __init__(self, order: int) -> None:
        self.order = order
        self.next: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
        self.total: Counter[tuple[str, ...]] = Counter()

    def add(self, symbols: Sequence[str]) -> None:
        padded = [START] * (self.order - 1) + list(symbols) + [END]
        for place in range(self.order - 1, len(padded)):
            for length in range(self.order):
                context = tuple(padded[place - length : place])
                self.next[context][padded[place]] += 1
                self.total[context] += 1

    def chance(self, context: tuple[str, ...], symbol: str, lowest: float) -> float:
        """The probability of a symbol behind a context; ``lowest`` is what is known of it without any count."""
        found = lowest
        for length in range(len(context) + 1):
            key = context[len(context) - length :]
            total = self.total.get(key, 0)
            if total:
                kinds = len(self.next[key])
                found = (self.next[key][symbol] + kinds * found) / (total + kinds)
        return found


class WordModel:
    """Trigrams of words over trigrams of letters, so that words that were never seen have a probability too.

    Args:
        texts: lists of words to count.

    >>> model = WordModel([["a", "good", "film"], ["a", "bad", "film"]] * 5)
    >>> model.surprise(["a", "good", "film"]) < model.surprise(["a", "qx", "film"])
    True
    """

    def __init__(self, texts: Sequence[Sequence[str]]) -> None:
        self.words, self.letters = _Counts(3), _Counts(3)
        for text in texts:
            self.words.add(text)
            for word in text:
                self.letters.add(word)
        self._spelled: dict[str, float] = {END: LEAST}

    def surprise(self, words: Sequence[str]) -> float:
        """The mean of minus the logarithm of each word's probability and of the end's, in nats."""
        costs = self.costs(words)
        return sum(costs) / len(costs)

    def costs(self, words: Sequence[str]) -> list[float]:
        """Minus the logarithm of the probability of each word, and of the end, in nats."""
        padded = [START, START, *words, END]
        return [self.cost(padded[place - 2], padded[place - 1], padded[place]) for place in range(2, len(padded))]

    def cost(self, first: str, second: str, word: str) -> float:
        """Minus the logarithm of the probability of a word behind two others, in nats."""
        return -math.log(self.words.chance((first, second), word, self._spelling(word)))

    def _spelling(self, word: str) -> float:
        """The probability of a word letter by letter."""
        if word not in self._spelled:
            padded = [START, START, *word, END]
            found = 1.0
            for place in range(2, len(padded)):
                found *= self.letters.chance((padded[place - 2], padded[place - 1]), padded[place], LEAST)
            self._spelled[word] = max(found, 1e-300)
        return self._spelled[word]


def excesses(model: WordModel, words: Sequence[str]) -> list[float]:
    """How much more each word costs than the text's other words: the fall of the mean surprise if it is left out, times
    the number of words, in nats. Only the costs of the next two words change with it.

    >>> model = WordModel([["a", "good", "film"], ["a", "bad", "film"]] * 5)
    >>> found = excesses(model, ["a", "qx", "good", "film"])
    >>> found.index(max(found))
    1
    """
    padded = [START, START, *words, END]
    costs = model.costs(words)
    whole, count = sum(costs), len(costs)
    found = []
    for place in range(len(words)):
        at = place + 2  # within padded
        old = sum(costs[place : place + 3])
        rest = padded[at - 2 : at] + padded[at + 1 : at + 3]
        new = sum(model.cost(rest[step], rest[step + 1], rest[step + 2]) for step in range(len(rest) - 2))
        found.append(count * (whole / count - (whole - old + new) / max(1, count - 1)))
    return found
