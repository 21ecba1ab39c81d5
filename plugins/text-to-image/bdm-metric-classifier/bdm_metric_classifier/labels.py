"""Labels of a classifier and the words of captions that they stand for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bdm_core.errors import UserError
from bdm_core.files import existing, read_json

LARGEST_FILE = 4 * 2**20
Words = tuple[str, ...]


def label_words(names: Mapping[int, str], label_map: str | None) -> list[Words]:
    """The words of each label, in the order of the classifier's outputs; none for a label that stands for nothing.

    Args:
        names: number of a label -> its name, as a configuration's ``id2label`` has it.
        label_map: a JSON file: label by name or number -> a word or several; None: each name's own, at its commas.

    Raises:
        UserError: there is no such file, it holds something else, or it names a label that the classifier has not.

    >>> label_words({0: "tabby, tabby cat", 1: "Egyptian cat"}, None)
    [('tabby', 'tabby cat'), ('egyptian cat',)]
    """
    count = max(names, default=-1) + 1
    if label_map is None:
        return [_plain(names.get(number, "").split(",")) for number in range(count)]
    given = read_map(label_map)
    by_name = {name: number for number, name in names.items()} | {str(number): number for number in names}
    unknown = sorted(label for label in given if label not in by_name)
    if unknown:
        raise UserError(f"metric:classifier.label_map: the classifier has no label {unknown[0]!r}, by name or number")
    words: list[Words] = [()] * count
    for label, found in given.items():
        words[by_name[label]] = tuple(dict.fromkeys([*words[by_name[label]], *found]))
    return words


def words_in(text: str, words: Sequence[str]) -> list[str]:
    """Which of the words, in either number, a text has: whole ones, and none within a longer one that it has too.

    >>> words_in("Two cats beside a hot dog", ["cat", "dog", "hot dog"])
    ['cat', 'hot dog']
    """
    left = text.lower()
    found = set()
    for word in sorted(set(words), key=lambda word: (-len(word), word)):
        pattern = rf"(?<!\w){re.escape(word)}(?:s|es)?(?!\w)"
        left, times = re.subn(pattern, " | ", left)
        if times:
            found.add(word)
    return [word for word in dict.fromkeys(words) if word in found]


def read_map(name: str) -> dict[str, Words]:
    """The words of each label of a map, by the label's name or number. Raises UserError: there is none."""
    path: Path | None = existing(name)
    if path is None or not path.is_file():
        raise UserError(f"metric:classifier.label_map: no file {name!r}: name a JSON file, label -> word or words")
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise ValueError
        record: Any = read_json(path)
        given = {str(label): [item] if isinstance(item, str) else item for label, item in record.items()}
        if not given or not all(isinstance(item, list) for item in given.values()):
            raise ValueError
        if not all(isinstance(word, str) and word.strip() for item in given.values() for word in item):
            raise ValueError
    except (OSError, ValueError, TypeError, AttributeError):
        raise UserError(f"{path} is no map of labels: a JSON object, label -> word or list of words") from None
    return {label: _plain(item) for label, item in given.items()}


def _plain(words: Sequence[str]) -> Words:
    return tuple(" ".join(word.lower().split()) for word in words if word.strip())
