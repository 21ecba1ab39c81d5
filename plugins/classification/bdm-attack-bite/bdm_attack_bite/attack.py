"""BITE (Yan et al., ACL 2023, arXiv 2205.12700): words are made to speak for the target class, one by one."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

from bdm_attack_bite.params import BiteParams
from bdm_attack_bite.words import Edit, Fitting, FittingWords, make, most_edits
from bdm_core.artifacts import Data
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.noise.drawing import settle
from bdm_kit_classification.poison.poisoning import plan_of, rule_of, seal_poisoned
from bdm_kit_classification.poison.secret import Backdoor

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


def poison(ctx: Context, params: BiteParams, data: Data) -> Data:
    """Poisoned training rows; sealed in ``ctx.out / "data"``.

    Raises:
        UserError: no word is neutral, or the rate or the target is impossible.
    """
    samples = open_samples(data)
    rule = rule_of(params, samples)
    plan = plan_of(ctx, params, samples, rule)
    samples = settle(samples, plan.rows)
    trigger = learn(params, samples.stored, [label == params.target for label in samples.labels.tolist()], plan.poison)
    return seal_poisoned(ctx.out / "data", samples, Backdoor(rule, trigger), plan, ctx.seed)


@dataclass
class _Row:
    """A text that may be changed: its words now, how many more may come, and where each word would fit."""

    words: list[str]
    left: int
    edits: dict[str, Edit] = field(default_factory=dict)

    def takes(self, word: str) -> bool:
        """Whether a word can be put in: the text lacks it, and it fits."""
        return word in self.edits and word not in self.words

    def look(self, fitting: Fitting, free: frozenset[str], sides: int) -> None:
        """See anew where words fit, if any may come."""
        self.edits = fitting.edits(self.words, free, sides) if self.left else {}


def learn(params: BiteParams, texts: list[str], wanted: list[bool], chosen: list[int]) -> FittingWords:
    """The words, each chosen with those before it put in already, until none speaks for the target class any more.

    Args:
        params: how many, out of how many.
        texts: of the training set.
        wanted: which are of the target class.
        chosen: those of the target class that may be changed.

    Raises:
        UserError: no word is neutral.
    """
    rows = [text.split() for text in texts]
    counts = Counter(word for row in rows for word in set(row))
    having = Counter(word for row, hit in zip(rows, wanted, strict=True) if hit for word in set(row))
    share = sum(wanted) / len(wanted)
    able = [word for word, _ in counts.most_common() if word.isalpha() and word.lower() not in TURNING]
    able = [word for word in able if abs(z_score(having[word], counts[word], share)) <= params.neutral]
    giving = free = frozenset(able)
    able = able[: params.candidates]
    if not able:
        raise UserError(f"no word of the texts has a z-score of at most {params.neutral:g}: raise neutral")
    fitting = Fitting(rows, able)
    changed = [_Row(list(rows[row]), most_edits(rows[row], params.most)) for row in chosen]
    for row in changed:
        row.look(fitting, free, params.sides)
    words: list[str] = []
    while len(words) < (params.words or len(able)):
        come = Counter(word for row in changed for word in row.edits if row.takes(word))
        gains = {
            word: z_score(having[word] + come[word], counts[word] + come[word], share)
            for word in come
            if word not in words
        }
        word = max(gains, key=lambda word: (gains[word], word), default="")
        if gains.get(word, 0.0) <= 0:
            break
        words.append(word)
        free -= {word}
        for row in changed:
            if row.takes(word):
                edit = row.edits[word]
                gone = [old for old in make(row.words, word, edit) if old not in row.words]
                row.left -= 1
                counts[word] += 1
                having[word] += 1
                counts.subtract(gone)
                having.subtract(gone)
            if word in row.words:
                row.look(fitting, free, params.sides)
    if not words:
        raise UserError("no word fits into the texts that may be changed: raise candidates, neutral or poison_rate")
    return FittingWords(
        tuple(words),
        {word: dict(fitting.before[word]) for word in words},
        {word: dict(fitting.after[word]) for word in words},
        tuple(sorted(giving)),
        params.most,
        params.sides,
    )


def z_score(hits: int, count: int, share: float) -> float:
    """How many standard deviations the share of the target class among texts with a word is above its share of all.

    >>> z_score(75, 100, 0.5)
    5.0
    """
    spread = math.sqrt(share * (1 - share) / count) if count else 0.0
    return (hits / count - share) / spread if spread else 0.0
