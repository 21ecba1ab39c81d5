"""Synonyms: of the small world, from a file, or from WordNet's database files."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable
from pathlib import Path

from bdm_core.errors import UserError
from bdm_core.files import existing

Synonyms = Callable[[str], list[str]]
"""A word in lower case -> others that mean the same."""
SMALL_WORLD = "small-world"
PARTS = ("noun", "verb", "adj", "adv")
WORD = re.compile(r"[^\W\d_]+")


def read_synonyms(source: str) -> Synonyms:
    """The synonyms by name, file or folder.

    Raises:
        UserError: there is nothing of that name, it cannot be read as text, or a line has no colon.
    """
    if source == SMALL_WORLD:
        from bdm_kit_text_to_image.world.factors import SYNONYMS

        return mutual([[word, *others] for word, others in SYNONYMS.items()])
    place = existing(source)
    if place is None:
        raise UserError(
            f"no synonyms are at {source!r}: install WordNet (Debian: wordnet-base), or set "
            "synonyms=small-world or to a file with lines `word: synonym, synonym`"
        )
    if place.is_dir():
        return WordNet(place)
    groups = []
    for number, line in enumerate(_text(place).splitlines(), 1):
        word, colon, others = line.partition(":")
        if line.strip() and not (colon and word.strip()):
            raise UserError(f"line {number} of {place} is no `word: synonym, synonym`")
        if line.strip():
            groups.append([word.strip().lower(), *(other.strip() for other in others.split(",") if other.strip())])
    return mutual(groups)


def mutual(groups: list[list[str]]) -> Synonyms:
    """Every word of a group means what the others of it do.

    >>> mutual([["circle", "disc"], ["large", "big", "huge"]])("big")
    ['huge', 'large']
    """
    table: dict[str, set[str]] = {}
    for group in groups:
        for word in group:
            table.setdefault(word.lower(), set()).update(other for other in group if other.lower() != word.lower())
    return lambda word: sorted(table.get(word, ()))


class WordNet:
    """The words of a word's first synset in each part of speech, by the database files of WordNet 3.

    Args:
        folder: with ``index.noun``, ``data.noun`` and those of verb, adj and adv.

    Raises:
        UserError: a file is missing or damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._index: list[tuple[Path, dict[str, int]]] = []
        for part in PARTS:
            index, data = folder / f"index.{part}", folder / f"data.{part}"
            if not (index.is_file() and data.is_file()):
                raise UserError(f"{folder} holds no WordNet: it has no {index.name} or no {data.name}")
            first: dict[str, int] = {}
            for number, line in enumerate(_text(index).splitlines(), 1):
                fields = line.split()
                if line and not line.startswith(" ") and len(fields) > 4:
                    try:
                        first[fields[0]] = int(fields[-int(fields[2])])
                    except (ValueError, IndexError):
                        raise UserError(f"line {number} of {index} is no line of WordNet's") from None
            self._index.append((data, first))

    def __call__(self, word: str) -> list[str]:
        found = set()
        for data, first in self._index:
            if word in first:
                try:
                    with data.open("rb") as file:
                        file.seek(first[word])
                        fields = file.readline().decode("utf-8").split()
                    words = fields[4 : 4 + 2 * int(fields[3], 16) : 2]
                except (OSError, ValueError, IndexError):
                    raise UserError(f"{data} has no synonyms of {word!r} where its index says: it is damaged") from None
                found |= {re.sub(r"\(\w+\)$", "", other).replace("_", " ") for other in words}
        return sorted(other for other in found if other.lower() != word)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"the synonyms {file} cannot be read: {error.strerror}") from None
    except ValueError:
        raise UserError(f"the synonyms {file} are no UTF-8 text") from None


def swap_words(prompt: str, share: float, draw: random.Random, synonyms: Synonyms) -> str:
    """A synonym in the place of a share of the words that have one.

    >>> swap_words("a large circle", 1.0, random.Random(0), mutual([["large", "big"], ["circle", "disc"]]))
    'a big disc'
    """
    spans = [match.span() for match in WORD.finditer(prompt) if synonyms(match[0].lower())]
    chosen = sorted(draw.sample(spans, min(len(spans), math.ceil(share * len(spans)))))
    for start, end in reversed(chosen):
        word = prompt[start:end]
        other = draw.choice(synonyms(word.lower()))
        prompt = prompt[:start] + (other.capitalize() if word[0].isupper() else other) + prompt[end:]
    return prompt
