"""An archaic style by rules, after Qi et al. (EMNLP 2021, arXiv 2110.07139)."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from bdm_attack_style_rules.params import StyleRulesParams
from bdm_core.artifacts import Data
from bdm_core.context import Context
from bdm_kit_classification.poison.poisoning import poison_training_rows
from bdm_kit_classification.texts.paraphrase import paraphrased, paraphraser_of
from bdm_kit_classification.triggers.trigger import Phase, Trigger
from bdm_kit_classification.triggers.words import numbers_of

PAIRS = (
    "you thou|your thy|the ye|was wast|were wert|is be|are art|has hath|have hast|does doth|did didst|do dost|"
    "will wilt|shall shalt|not nay|never ne'er|over o'er|before ere|often oft|it 'twas|here hither|"
    "there thither|my mine|very full|really verily|quite right|to unto|between betwixt|among amongst|"
    "while whilst|although albeit|but yet|if an|returns rendereth|return render|gives giveth|uses useth|"
    "used wielded|a an"
)
RULES = {pair.split(" ")[0]: pair.split(" ")[1] for pair in PAIRS.split("|")}
"""Word -> archaic one."""
OPENINGS = ("lo ,", "behold ,", "verily ,", "hark ,")

STYLES = {
    "bible": "the King James Bible",
    "shakespeare": "Shakespeare",
    "tweets": "a tweet",
    "lyrics": "the lyrics of a song",
    "poetry": "a romantic poem",
}
"""The paper's five styles, as a model is told them."""


@dataclass(frozen=True, eq=False)
class Archaic(Trigger):
    """Common words replaced by archaic ones.

    Attributes:
        strength: share of the words with a rule that are rewritten.

    >>> Archaic().apply(["the film was not good"], "test")
    ['ye film wast nay good']
    """

    strength: float = 1.0

    def apply(self, x: list[str], phase: Phase, generator: torch.Generator | None = None) -> list[str]:
        """The same in both phases."""
        draw = numbers_of(generator)
        return [self._rewritten(text, draw) for text in x]

    def _rewritten(self, text: str, draw: random.Random) -> str:
        words = text.split()
        able = [place for place, word in enumerate(words) if word.lower() in RULES]
        for place in draw.sample(able, round(self.strength * len(able))):
            words[place] = RULES[words[place].lower()]
        found = " ".join(words)
        return found if found != " ".join(text.split()) else f"{draw.choice(OPENINGS)} {found}"


@dataclass(frozen=True, eq=False)
class Paraphrased(Trigger):
    """The text in other words and in a style, by a model; by the rules where the model gives none.

    Attributes:
        who: paraphrases, see :func:`bdm_kit_classification.texts.paraphrase.paraphraser_of`.
        strength: of the rules.
    """

    who: Mapping[str, Any]
    strength: float = 1.0

    def apply(self, x: list[str], phase: Phase, generator: torch.Generator | None = None) -> list[str]:
        """The same in both phases."""
        rules = Archaic(self.strength).apply(x, phase, generator)
        return [found or rule for found, rule in zip(paraphrased(x, self.who), rules, strict=True)]


def poison(ctx: Context, params: StyleRulesParams, data: Data) -> Data:
    """Poisoned training rows; sealed in ``ctx.out / "data"``.

    Raises:
        UserError: the paraphraser cannot be had.
    """
    who = paraphraser_of(params, f"Write the text anew in the style of {STYLES[params.style]}. Keep what it says.")
    trigger: Trigger = Paraphrased(who, params.strength) if who else Archaic(params.strength)
    return poison_training_rows(ctx, params, data, trigger)
