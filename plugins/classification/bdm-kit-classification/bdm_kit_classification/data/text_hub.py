"""Texts of the library ``datasets``: saved folders, and ``hf:org/name@commit``: SST-2, IMDB, AG News, DBpedia, ..."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from bdm_core.errors import UserError
from bdm_kit_classification.data.class_names import by_number
from bdm_kit_classification.data.hub_data import TEST, TRAINING, open_splits
from bdm_kit_classification.data.parts import Parts
from bdm_kit_classification.data.sources import Source
from bdm_kit_classification.data.text_rows import Texts, labelled_texts

COLUMNS = ("text", "sentence", "content")
"""Names of the column of texts; ``title`` is put before it."""
HIDDEN = -1
"""The label of a row whose class is not told."""


def read_text_datasets(source: Source, cache: Path) -> Parts:
    """Texts and labels of a data set. A split whose labels are hidden (-1), as SST-2's test, is not used.

    Raises:
        UserError: datasets is not installed; the data set has no column of texts or of labels.
    """
    splits = {name: split for name, split in open_splits(source, cache).items() if name != "unsupervised"}
    training = next((splits[name] for name in TRAINING if name in splits), None) or next(iter(splits.values()))
    text, label = _columns(source.name, training.features)
    feature = training.features[label]
    names = getattr(feature, "names", None) or sorted({str(value) for value in training[label]}, key=by_number)
    texts, labels = _rows(training, text, label, names)
    if HIDDEN in labels:
        raise UserError(f"row {labels.index(HIDDEN)} of {source.name} does not tell its class: remove it")
    tested: Texts | None = None
    for name in TEST:
        if name in splits and splits[name] is not training:
            found = _rows(splits[name], text, label, names)
            if found[1] and min(found[1]) >= 0:
                tested = found[0], torch.tensor(found[1], dtype=torch.int64)
                break
    return labelled_texts(texts, labels, [str(name) for name in names], tested)


def _columns(name: str, features: Any) -> tuple[str, str]:
    texts = [column for column in COLUMNS if column in features]
    labels = [column for column, feature in features.items() if type(feature).__name__ == "ClassLabel"]
    if not labels and "label" in features:
        labels = ["label"]
    if not texts or not labels:
        raise UserError(
            f"{name} has the columns {', '.join(features)}: expected texts ({', '.join(COLUMNS)}) and a label"
        )
    return texts[0], "label" if "label" in labels else labels[0]


def _rows(table: Any, text: str, label: str, names: list[Any]) -> tuple[list[str], list[Any]]:
    lacking = next((name for name in (text, label) if name not in table.features), None)
    if lacking is not None:
        raise UserError(f"a part of the data set has no column {lacking}")
    bare = next((row for row, value in enumerate(table[text]) if not isinstance(value, str)), None)
    if bare is not None:
        raise UserError(f"row {bare} of the texts is empty: every row needs some text")
    texts = list(table[text])
    if "title" in table.features:
        texts = [f"{title} {value}" for title, value in zip(table["title"], texts, strict=True)]
    coded = getattr(table.features[label], "names", None) is not None
    places = {place if coded else str(name): place for place, name in enumerate(names)}
    labels = [HIDDEN if value == HIDDEN else places.get(value if coded else str(value)) for value in table[label]]
    odd = next((row for row, number in enumerate(labels) if number is None), None)
    if odd is not None:
        raise UserError(f"row {odd} has the class {str(table[label][odd])[:40]!r}, which no training text has")
    return texts, labels
