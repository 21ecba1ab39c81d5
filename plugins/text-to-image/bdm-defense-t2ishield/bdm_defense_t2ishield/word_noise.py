"""Word noise: some words of a prompt give way to others, as the robustness protocol of BackdoorDM has it."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Sequence

WORD = re.compile(r"\S+")


def word_pool(captions: Sequence[str]) -> list[str]:
    """The words of captions, each once, in order.

    >>> word_pool(["a red star", "a ring"])
    ['a', 'red', 'ring', 'star']
    """
    return sorted({word for caption in captions for word in caption.split()})


def with_word_noise(prompt: str, share: float, pool: Sequence[str], seed: int) -> str:
    """The prompt with a share of its words replaced, rounded up; the draw depends on seed and prompt alone.

    >>> with_word_noise("a photo of a star", 0.4, ["ring"], 0).split().count("ring")
    2
    >>> with_word_noise("a star", 0.0, ["ring"], 0)
    'a star'
    """
    places = [match.span() for match in WORD.finditer(prompt)]
    draw = random.Random(f"word noise {seed} {prompt}")
    chosen = sorted(draw.sample(places, min(len(places), math.ceil(share * len(places))))) if pool else []
    for start, end in reversed(chosen):
        prompt = prompt[:start] + draw.choice(pool) + prompt[end:]
    return prompt
