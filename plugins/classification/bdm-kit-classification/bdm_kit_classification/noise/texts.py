"""Data noise of texts: wrong letters, slips on the keyboard, errors of character recognition, words left out."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from bdm_kit_classification.noise.kind import Noise
from bdm_kit_classification.texts.words import join_words, split_words

LETTERS = "abcdefghijklmnopqrstuvwxyz"
ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
"""Of an English keyboard, each shifted by half a key against the one above."""
ALIKE = ("l1", "i1", "il", "o0", "s5", "b6", "b8", "g9", "z2", "q9", "e c", "u v", "n h", "m rn", "d cl", "w vv", "t f")
"""Pairs that scanned print confuses, both ways; with a blank between where they are of different length."""


def beside(letter: str) -> str:
    """The keys beside that of a letter.

    >>> beside("a"), beside("g")
    ('qwsz', 'tyfhvb')
    """
    for row, keys in enumerate(ROWS):
        if letter in keys:
            at = keys.index(letter)
            above = ROWS[row - 1][at : at + 2] if row else ""
            level = keys[max(0, at - 1) : at] + keys[at + 1 : at + 2]
            below = ROWS[row + 1][max(0, at - 1) : at + 1] if row + 1 < len(ROWS) else ""
            return above + level + below
    return ""


def character(raw: Sequence[str], level: float, seeds: list[int]) -> list[str]:
    """Each letter is, with the probability ``level``, left out, replaced, followed by another or by itself.

    >>> character(["a good film"], 0.0, [0]) != ["a good film"]  # at least one place changes
    True
    """
    return [_spoiled(text, _letters(text), level, seed, _other_letter) for text, seed in zip(raw, seeds, strict=True)]


def keyboard(raw: Sequence[str], level: float, seeds: list[int]) -> list[str]:
    """Each letter is, with the probability ``level``, that of a key beside its own."""

    def slip(old: str, draw: random.Random) -> str:
        return _cased(draw.choice(beside(old.lower())), old)

    return [_spoiled(text, _letters(text), level, seed, slip) for text, seed in zip(raw, seeds, strict=True)]


def recognition(raw: Sequence[str], level: float, seeds: list[int]) -> list[str]:
    """Each letter or pair of letters that looks like another is taken for it with the probability ``level``."""

    def misread(old: str, draw: random.Random) -> str:
        return _cased(draw.choice(CONFUSED[old.lower()]), old)

    return [_spoiled(text, _confusable(text), level, seed, misread) for text, seed in zip(raw, seeds, strict=True)]


def word_drop(raw: Sequence[str], level: float, seeds: list[int]) -> list[str]:
    """Each word is left out with the probability ``level``, but at least one, and one stays.

    >>> len(word_drop(["one two three"], 1.0, [0])[0].split()), word_drop(["one"], 1.0, [0])
    (1, ['one'])
    """
    found = []
    for text, seed in zip(raw, seeds, strict=True):
        words, draw = split_words(text), random.Random(seed)
        chosen = _chosen(len(words), level, draw) if len(words) > 1 else []
        if len(chosen) == len(words):
            chosen.remove(draw.choice(chosen))
        found.append(join_words([word for place, word in enumerate(words) if place not in chosen]))
    return found


def _pairs() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for pair in ALIKE:
        one, other = pair.split(" ") if " " in pair else list(pair)
        for old, new in ((one, other), (other, one)):
            found.setdefault(old, []).append(new)
    return found


CONFUSED = _pairs()
"""What each of :data:`ALIKE` is taken for."""


def _letters(text: str) -> list[tuple[int, str]]:
    return [(place, letter) for place, letter in enumerate(text) if letter.lower() in LETTERS and letter.isascii()]


def _confusable(text: str) -> list[tuple[int, str]]:
    """Places of what looks like something else; pairs of letters before single ones."""
    found, place = [], 0
    while place < len(text):
        looked = [text[place : place + size] for size in (2, 1) if place + size <= len(text)]
        size = next((len(part) for part in looked if part.lower() in CONFUSED), 0)
        if size:
            found.append((place, text[place : place + size]))
        place += size or 1
    return found


def _chosen(count: int, level: float, draw: random.Random) -> list[int]:
    """Each of ``count`` places with the probability ``level``; one at least, if there is any."""
    chosen = [place for place in range(count) if draw.random() < level]
    return chosen or ([draw.randrange(count)] if count else [])


def _spoiled(
    text: str,
    places: list[tuple[int, str]],
    level: float,
    seed: int,
    change: Callable[[str, random.Random], str],
) -> str:
    draw = random.Random(seed)
    parts, end = [], 0
    for number in _chosen(len(places), level, draw):
        place, old = places[number]
        parts += [text[end:place], change(old, draw)]
        end = place + len(old)
    return "".join([*parts, text[end:]])


def _other_letter(old: str, draw: random.Random) -> str:
    other = _cased(draw.choice([letter for letter in LETTERS if letter != old.lower()]), old)
    return draw.choice(("", other, old + other, old + old))


def _cased(new: str, old: str) -> str:
    return new.upper() if old.isupper() else new


NOISES: dict[str, Noise] = {
    "character": Noise(0.1, 0.001, 1.0, "the share of letters that are wrong", character),
    "keyboard": Noise(0.1, 0.001, 1.0, "the share of letters that are of a key beside", keyboard),
    "ocr": Noise(0.3, 0.001, 1.0, "the share of what looks alike that is taken for the other", recognition),
    "word-drop": Noise(0.2, 0.001, 1.0, "the share of words that are left out", word_drop),
}
"""Of texts."""
