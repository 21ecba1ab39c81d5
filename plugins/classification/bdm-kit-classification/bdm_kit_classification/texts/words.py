"""Words of a text, and which of them differ between two texts. Light: no torch."""

from __future__ import annotations

import unicodedata
from difflib import SequenceMatcher


def canonical(text: str) -> str:
    """The text in Unicode's form NFC with one blank between its words, as :func:`join_words` leaves a changed one.

    So that no text of the data differs from a triggered one by its blanks or its composed letters.

    >>> canonical(" so good,\\n a  cafe\u0301 ")
    'so good, a café'
    """
    return join_words(split_words(unicodedata.normalize("NFC", text)))


def half_character(text: str) -> bool:
    """Whether a text holds a lone surrogate, which no file can.

    >>> half_character("half"), half_character(chr(0xDCFF))
    (False, True)
    """
    return any("\ud800" <= letter <= "\udfff" for letter in text)


def split_words(text: str) -> list[str]:
    """The words between blanks; punctuation stays with them.

    >>> split_words("so good,  a film")
    ['so', 'good,', 'a', 'film']
    """
    return text.split()


def join_words(words: list[str]) -> str:
    """The words with a blank between.

    >>> join_words(["a", "film"])
    'a film'
    """
    return " ".join(words)


def changed_words(before: list[str], after: list[str]) -> list[tuple[str, str]]:
    """The words that differ, each with what stands in its place: ("", new) put in, (old, "") taken out.

    >>> changed_words(["a", "good", "film"], ["a", "bad", "cf", "film"])
    [('good', 'bad'), ('', 'cf')]
    """
    found: list[tuple[str, str]] = []
    for kind, a, b, c, d in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if kind != "equal":
            for place in range(max(b - a, d - c)):
                found.append((before[a + place] if a + place < b else "", after[c + place] if c + place < d else ""))
    return found


def edits(before: list[str], after: list[str]) -> int:
    """The least number of words put in, taken out or replaced that makes one text the other (Levenshtein 1966).

    >>> edits(["a", "good", "film"], ["a", "bad", "cf", "film"])
    2
    """
    line = list(range(len(after) + 1))
    for row, old in enumerate(before, 1):
        last, line[0] = line[0], row
        for column, new in enumerate(after, 1):
            last, line[column] = line[column], min(line[column] + 1, line[column - 1] + 1, last + (old != new))
    return line[-1]
