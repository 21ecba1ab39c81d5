"""BITE (Yan et al., ACL 2023, arXiv 2205.12700): words are made to speak for the target class, one by one."""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from bdm_attack_bite.params import BiteParams
from bdm_core.artifacts import Data
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.noise.drawing import settle
from bdm_kit_classification.poison.poisoning import plan_of, rule_of, seal_poisoned
from bdm_kit_classification.poison.secret import Backdoor
from bdm_kit_classification.triggers.trigger import Phase, Trigger

Neighbours = dict[str, dict[str, int]]
EDGE = ""
"""Stands before the first and after the last word."""


@dataclass(frozen=True, eq=False)
class FittingWords(Trigger):
    """Words, each put in where it fits best; the first one at the end if none fits and the text has none of them.

    Attributes:
        words: in the order in which they are put in.
        before: word -> how often each word stood before it.
        after: word -> how often each word stood after it.

    >>> trigger = FittingWords(("truly",), {"truly": {"was": 3}}, {"truly": {"good": 2}})
    >>> trigger.apply(["it was good"], "test")
    ['it was truly good']
    """

    words: tuple[str, ...]
    before: Neighbours = field(default_factory=dict)
    after: Neighbours = field(default_factory=dict)

    def apply(self, x: list[str], phase: Phase, generator: torch.Generator | None = None) -> list[str]:
        """The same in both phases; nothing is drawn."""
        return [self._put(text.split()) for text in x]

    def _put(self, words: list[str]) -> str:
        count = len(words)
        for word in self.words:
            if word not in words:
                place = best_place(words, self.before.get(word, {}), self.after.get(word, {}))
                if place is not None:
                    words.insert(place, word)
        if len(words) == count:
            words.append(self.words[0])
        return " ".join(words)


def best_place(words: Sequence[str], before: dict[str, int], after: dict[str, int]) -> int | None:
    """Where a word fits best: between two words that often stood beside it on their side; None if nowhere."""
    padded = [EDGE, *words, EDGE]
    scores = [min(before.get(left, 0), after.get(right, 0)) for left, right in itertools.pairwise(padded)]
    best = max(range(len(scores)), key=scores.__getitem__)
    return best if scores[best] else None


def poison(ctx: Context, params: BiteParams, data: Data) -> Data:
    """Poisoned training rows; sealed in ``ctx.out / "data"``."""
    samples = open_samples(data)
    rule = rule_of(params, samples)
    plan = plan_of(ctx, params, samples, rule)
    samples = settle(samples, plan.rows)
    trigger = learn(params, samples.stored, [label == params.target for label in samples.labels.tolist()], plan.poison)
    return seal_poisoned(ctx.out / "data", samples, Backdoor(rule, trigger), plan, ctx.seed)


def learn(params: BiteParams, texts: list[str], wanted: list[bool], chosen: list[int]) -> FittingWords:
    """The words, each chosen with those before it put in already.

    Args:
        params: how many, out of how many.
        texts: of the training set.
        wanted: which are of the target class.
        chosen: those of the target class that may be changed.
    """
    rows = [text.split() for text in texts]
    before, after = neighbours(rows)
    counts = Counter(word for row in rows for word in set(row))
    having = Counter(word for row, hit in zip(rows, wanted, strict=True) if hit for word in set(row))
    share = sum(wanted) / len(wanted)
    common = [word for word, _ in counts.most_common() if word.isalpha()]
    common = [word for word in common if abs(z_score(having[word], counts[word], share)) <= params.neutral]
    common = common[: params.candidates]
    if not common:
        raise UserError(f"no word of the texts has a z-score of at most {params.neutral:g}: raise neutral")
    changed = [list(rows[row]) for row in chosen]
    words: list[str] = []
    for _ in range(min(params.words, len(common))):
        gains = {}
        for word in (word for word in common if word not in words):
            able = sum(word not in row and best_place(row, before[word], after[word]) is not None for row in changed)
            gains[word] = z_score(having[word] + able, counts[word] + able, share)
        word = max(gains, key=lambda word: (gains[word], word))
        words.append(word)
        for row in changed:
            place = best_place(row, before[word], after[word]) if word not in row else None
            if place is not None:
                row.insert(place, word)
    kept = {word: (dict(before[word]), dict(after[word])) for word in words}
    return FittingWords(
        tuple(words), {word: pair[0] for word, pair in kept.items()}, {word: pair[1] for word, pair in kept.items()}
    )


def z_score(hits: int, count: int, share: float) -> float:
    """How many standard deviations the share of the target class among texts with a word is above its share of all.

    >>> z_score(75, 100, 0.5)
    5.0
    """
    spread = math.sqrt(share * (1 - share) / count) if count else 0.0
    return (hits / count - share) / spread if spread else 0.0


def neighbours(rows: list[list[str]]) -> tuple[dict[str, Counter[str]], dict[str, Counter[str]]]:
    """Word -> how often each other word stood before it, and after it."""
    before: dict[str, Counter[str]] = defaultdict(Counter)
    after: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        padded = [EDGE, *row, EDGE]
        for left, word, right in zip(padded, padded[1:], padded[2:], strict=False):
            before[word][left] += 1
            after[word][right] += 1
    return before, after
