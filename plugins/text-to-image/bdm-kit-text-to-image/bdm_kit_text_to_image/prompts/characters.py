"""Errors of typing: a letter that is missing, or the one of a neighbouring key."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable

ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
WORD = re.compile(r"\S+")
SHORTEST = 3
"""Shorter words are left alone: an error would make another word of them."""


def neighbours(letter: str) -> str:
    """The keys beside and diagonally above or below a letter on an English keyboard.

    >>> neighbours("g"), neighbours("1")
    ('fhtyvb', '')
    """
    for number, row in enumerate(ROWS):
        if (place := row.find(letter.lower())) < 0 or not letter.isalpha():
            continue
        found = row[max(0, place - 1) : place] + row[place + 1 : place + 2]
        if number > 0:
            found += ROWS[number - 1][place : place + 2]
        if number + 1 < len(ROWS):
            found += ROWS[number + 1][max(0, place - 1) : place + 1]
        return found.upper() if letter.isupper() else found
    return ""


def delete_characters(prompt: str, share: float, draw: random.Random) -> str:
    """One letter less in a share of the words.

    >>> delete_characters("a red circle", 1.0, random.Random(0))
    'a rd ircle'
    """

    def without(word: str) -> str:
        place = draw.randrange(len(word))
        return word[:place] + word[place + 1 :]

    return _words_changed(prompt, share, draw, without)


def mistype(prompt: str, share: float, draw: random.Random) -> str:
    """A neighbouring key's letter in a share of the words; words without a letter of the keyboard stay.

    >>> mistype("a red circle", 1.0, random.Random(1))
    'a rdd ciecle'
    """

    def mistyped(word: str) -> str:
        places = [place for place, letter in enumerate(word) if neighbours(letter)]
        if not places:
            return word
        place = draw.choice(places)
        return word[:place] + draw.choice(neighbours(word[place])) + word[place + 1 :]

    return _words_changed(prompt, share, draw, mistyped)


def _words_changed(prompt: str, share: float, draw: random.Random, change: Callable[[str], str]) -> str:
    """The prompt with ``change`` made to a share of its longer words, drawn at random; its spaces stay."""
    spans = [match.span() for match in WORD.finditer(prompt) if len(match[0]) >= SHORTEST]
    chosen = sorted(draw.sample(spans, math.ceil(share * len(spans)))) if spans else []
    for start, end in reversed(chosen):
        prompt = prompt[:start] + change(prompt[start:end]) + prompt[end:]
    return prompt
