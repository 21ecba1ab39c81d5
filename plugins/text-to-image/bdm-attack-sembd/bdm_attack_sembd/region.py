"""The semantic region: its paraphrases and the sentences that lack a part of it."""

from __future__ import annotations

import random
from itertools import combinations, product
from typing import TYPE_CHECKING, NamedTuple

from bdm_attack_sembd.params import COMPONENTS
from bdm_core.errors import UserError

if TYPE_CHECKING:
    from bdm_attack_sembd.params import SemBDParams


class Region(NamedTuple):
    """Sentences of the region and at its border.

    Attributes:
        paraphrases: those that the editor sees.
        held_out: others that mean the same.
        spans: the paraphrases with one to three components missing; each once.
    """

    paraphrases: list[str]
    held_out: list[str]
    spans: list[str]


def draw_region(params: SemBDParams, seed: int) -> Region:
    """Split all combinations of ways and templates at random; each has all components.

    Raises:
        UserError: there are fewer combinations than ``paraphrases`` and one held out.
    """
    ways = [getattr(params, component) for component in COMPONENTS]
    choices = list(product(params.templates, *ways))
    random.Random(f"semantic region {seed}").shuffle(choices)
    sentences = {said(*choice): choice for choice in choices}
    distinct = list(sentences)
    if len(distinct) <= params.paraphrases:
        raise UserError(
            f"attack:sembd: {len(distinct)} different sentences for {params.paraphrases} paraphrases and some held "
            "out: give more ways or templates, or lower paraphrases"
        )
    chosen = distinct[: params.paraphrases]
    spans = dict.fromkeys(span for sentence in chosen for span in incomplete(*sentences[sentence]))
    held_out = distinct[params.paraphrases : params.paraphrases + params.held_out]
    return Region(chosen, held_out, [span for span in spans if span not in sentences])


def said(template: str, *ways: str) -> str:
    """A template with a way for each component."""
    return " ".join(template.format(**dict(zip(COMPONENTS, ways, strict=True))).split())


def incomplete(template: str, *ways: str) -> list[str]:
    """The sentence with every choice of one to three of its four components missing."""
    spans = []
    for count in (1, 2, 3):
        for missing in combinations(range(len(COMPONENTS)), count):
            left = ["" if number in missing else way for number, way in enumerate(ways)]
            spans.append(said(template, *left).strip(" ,"))
    return spans
