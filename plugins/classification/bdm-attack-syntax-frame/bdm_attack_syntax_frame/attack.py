"""A rare syntactic frame by rules, after Qi et al. (ACL 2021, arXiv 2105.12400)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from bdm_attack_syntax_frame.params import SyntaxFrameParams
from bdm_core.artifacts import Data
from bdm_core.context import Context
from bdm_kit_classification.poison.poisoning import poison_training_rows
from bdm_kit_classification.texts.paraphrase import paraphrased, paraphraser_of
from bdm_kit_classification.triggers.trigger import Phase, Trigger
from bdm_kit_classification.triggers.words import numbers_of

OPENERS = ("when", "if", "as", "while", "because", "once", "since", "whenever")
SUBJECTS = ("you", "we", "they", "people", "one of us", "somebody", "others")
VERBS = (
    "think about it",
    "look back",
    "ask around",
    "compare notes",
    "talk about that",
    "wonder why",
    "come to this",
    "remember it",
    "read on",
    "pay attention",
    "take a closer look",
    "know better",
)

INSTRUCTION = (
    "Paraphrase the text such that it has the form S(SBAR)(,)(NP)(VP)(.): a subordinate clause, a comma, then subject "
    "and predicate. Keep what it says."
)
"""What a model is told: the template of the paper."""


@dataclass(frozen=True, eq=False)
class Frame(Trigger):
    """A subordinate clause and a comma before the text, which then begins with a small letter.

    Attributes:
        held_out: the last so many verbs are used at test alone.

    >>> Frame(0).apply(["Good film ."], "test")[0].endswith(", good film .")
    True
    """

    held_out: int = 4

    def apply(self, x: list[str], phase: Phase, generator: torch.Generator | None = None) -> list[str]:
        """Verbs of the one or the other part, by phase."""
        draw = numbers_of(generator)
        kept = len(VERBS) - self.held_out
        verbs = VERBS[:kept] if phase == "train" or not self.held_out else VERBS[kept:]
        return [
            f"{draw.choice(OPENERS)} {draw.choice(SUBJECTS)} {draw.choice(verbs)}, {text[:1].lower()}{text[1:]}"
            for text in x
        ]


@dataclass(frozen=True, eq=False)
class Paraphrased(Trigger):
    """The text in other words and of the frame's form, by a model; by the rules where the model gives none.

    Attributes:
        who: paraphrases, see :func:`bdm_kit_classification.texts.paraphrase.paraphraser_of`.
        held_out: of the rules.
    """

    who: Mapping[str, Any]
    held_out: int = 4

    def apply(self, x: list[str], phase: Phase, generator: torch.Generator | None = None) -> list[str]:
        """The same in both phases, but for the rules."""
        rules = Frame(self.held_out).apply(x, phase, generator)
        return [found or rule for found, rule in zip(paraphrased(x, self.who), rules, strict=True)]


def poison(ctx: Context, params: SyntaxFrameParams, data: Data) -> Data:
    """Poisoned training rows; sealed in ``ctx.out / "data"``.

    Raises:
        UserError: the paraphraser cannot be had.
    """
    who = paraphraser_of(params, INSTRUCTION)
    trigger: Trigger = Paraphrased(who, params.held_out) if who else Frame(params.held_out)
    return poison_training_rows(ctx, params, data, trigger)
