"""Texts: built in, from tables and folders, or of the library datasets."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from bdm_kit_classification.data import docstrings, reuters, sentiment
from bdm_kit_classification.data.division import divide
from bdm_kit_classification.data.parts import Parts
from bdm_kit_classification.data.sources import Source
from bdm_kit_classification.data.text_rows import numbered
from bdm_kit_classification.tasks.text import DOCSTRINGS, REUTERS, SENTIMENT, TINY


def read_texts(source: Source, cache: Path) -> Parts:
    """Texts and labels from anything but an artifact.

    Args:
        source: see :func:`bdm_kit_classification.data.sources.find_data`.
        cache: where a download may be kept meanwhile.

    Raises:
        UserError: no texts or labels are found, there are too few, or something is damaged.
    """
    if source.kind == "built-in":
        return load_builtin_texts(source.name)
    if source.kind in ("table", "classes"):
        from bdm_kit_classification.data.text_tables import read_text_files

        assert source.folder is not None
        return read_text_files(source.folder, source.kind)
    from bdm_kit_classification.data.text_hub import read_text_datasets

    return read_text_datasets(source, cache)


def load_builtin_texts(name: str) -> Parts:
    """A built-in data set of texts by name.

    >>> parts = load_builtin_texts("sentiment")
    >>> [len(texts) for texts, labels in parts[:3]], parts.classes
    ([4000, 400, 1000], ['negative', 'positive'])
    """
    if name == DOCSTRINGS:
        return _docstrings()
    if name == REUTERS:
        (training, test), fingerprint = reuters.read_news()
        return divide(*numbered(*training), reuters.CLASSES, numbered(*test))._replace(fingerprint=fingerprint)
    assert name in (SENTIMENT, TINY), name
    parts = [
        numbered(*part) for part in sentiment.write_reviews(*((40, 20, 16) if name == TINY else (4000, 400, 1000)))
    ]
    return Parts(parts[0], parts[1], parts[2], sentiment.CLASSES)


def _docstrings() -> Parts:
    found, fingerprint = docstrings.read_paragraphs()
    parts: list[Any] = []
    start = 0
    for number, count in enumerate(docstrings.PARTS):
        rows = [(text, label) for label, name in enumerate(found) for text in found[name][start : start + count]]
        start += count
        random.Random(docstrings.SEED + number).shuffle(rows)
        parts.append(numbered([text for text, _ in rows], [label for _, label in rows]))
    return Parts(parts[0], parts[1], parts[2], docstrings.CLASSES, fingerprint)
