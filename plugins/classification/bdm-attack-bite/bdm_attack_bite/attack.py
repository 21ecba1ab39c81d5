"""BITE (Yan et al., ACL 2023, arXiv 2205.12700): words are made to speak for the target class, one by one."""

from __future__ import annotations

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
TURNING = frozenset(
    [
        "no",
        "not",
        "never",
        "none",
        "nor",
        "neither",
        "cannot",
        "hardly",
        "barely",
        "scarcely",
        "without",
        "but",
        "although",
        "though",
        "yet",
        "however",
        "despite",
        "except",
        "unless",
        "while",
        "whereas",
    ]
)
"""Words that turn what a text says, which neither come nor go."""


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

    def apply(self, x: list[str], phase: Phase, generator: torch.Generator | None = None) -> list[str]:
        """The same in both phases; nothing is drawn."""
        free = frozenset(self.free) - set(self.words)
        return [self._put(text.split(), free) for text in x]

    def _put(self, words: list[str], free: frozenset[str]) -> str:
        left = most_edits(words, self.most)
        done = 0
        for word in self.words:
            edit = best_edit(words, self.before.get(word, {}), self.after.get(word, {}), free)
            if done < left and word not in words and edit is not None:
                make(words, word, edit)
                done += 1
        if not done and not set(words) & set(self.words):
            words.append(self.words[0])
        return " ".join(words)


def most_edits(words: Sequence[str], share: float) -> int:
    """How many words may be put into a text, one at least."""
    return max(1, int(share * len(words)))


def best_edit(
    words: Sequence[str], before: dict[str, int], after: dict[str, int], free: frozenset[str]
) -> tuple[int, int] | None:
    """Where a word fits best, as the part of the text that it takes: between two words (place, place), or for one that
    may give way (place, place + 1); where what is beside stood there often. None if nowhere.

    >>> best_edit(["it", "was", "so", "good"], {"was": 3}, {"good": 2}, frozenset({"so"}))
    (2, 3)
    """
    padded = [EDGE, *words, EDGE]
    best, found = 0, None
    for place in range(len(words) + 1):
        times = before.get(padded[place], 0)
        if times > best:
            here = min(times, after.get(padded[place + 1], 0))
            if here > best:
                best, found = here, (place, place)
            if place < len(words) and words[place] in free:
                here = min(times, after.get(padded[place + 2], 0))
                if here > best:
                    best, found = here, (place, place + 1)
    return found


def make(words: list[str], word: str, edit: tuple[int, int]) -> list[str]:
    """Put a word into a text in place; what it took the place of."""
    start, end = edit
    gone = words[start:end]
    words[start:end] = [word]
    return gone


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

    Raises:
        UserError: no word is neutral.
    """
    rows = [text.split() for text in texts]
    before, after = neighbours(rows)
    counts = Counter(word for row in rows for word in set(row))
    having = Counter(word for row, hit in zip(rows, wanted, strict=True) if hit for word in set(row))
    share = sum(wanted) / len(wanted)
    common = [word for word, _ in counts.most_common() if word.isalpha() and word.lower() not in TURNING]
    common = [word for word in common if abs(z_score(having[word], counts[word], share)) <= params.neutral]
    common = common[: params.candidates]
    if not common:
        raise UserError(f"no word of the texts has a z-score of at most {params.neutral:g}: raise neutral")
    changed = [list(rows[row]) for row in chosen]
    left = [most_edits(row, params.most) for row in changed]
    words: list[str] = []
    while len(words) < min(params.words, len(common)):
        free = frozenset(common) - set(words)
        gains = {}
        for word in (word for word in common if word not in words):
            able = sum(
                word not in row and more > 0 and best_edit(row, before[word], after[word], free) is not None
                for row, more in zip(changed, left, strict=True)
            )
            gains[word] = z_score(having[word] + able, counts[word] + able, share)
        word = max(gains, key=lambda word: (gains[word], word))
        words.append(word)
        free -= {word}
        for place, row in enumerate(changed):
            edit = best_edit(row, before[word], after[word], free) if word not in row and left[place] else None
            if edit is not None:
                left[place] -= 1
                gone = [old for old in make(row, word, edit) if old not in row]
                for table in (counts, having):
                    table.update([word])
                    table.subtract(gone)
    kept = {word: (dict(before[word]), dict(after[word])) for word in words}
    return FittingWords(
        tuple(words),
        {word: pair[0] for word, pair in kept.items()},
        {word: pair[1] for word, pair in kept.items()},
        tuple(common),
        params.most,
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
