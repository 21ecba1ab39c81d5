"""Texts and labels in memory, on their way into three parts."""

from __future__ import annotations

import torch

from bdm_core.errors import UserError
from bdm_kit_classification.data.division import divide
from bdm_kit_classification.data.parts import Parts
from bdm_kit_classification.texts.words import canonical, half_character

Texts = tuple[list[str], torch.Tensor]


def labelled_texts(texts: list[str], labels: list[int], classes: list[str], tested: Texts | None = None) -> Parts:
    """Texts of a stranger in three parts. Raises UserError if one is empty or no text, or a class too small."""
    _require_texts(texts, "texts")
    if tested is not None:
        if not tested[0]:
            raise UserError("the test part has no texts: add some, or remove it and a part of the others is taken")
        _require_texts(tested[0], "test's texts")
        tested = numbered(tested[0], tested[1].tolist())
    stored, numbers = numbered(texts, labels)
    return divide(stored, numbers, classes, tested)


def _require_texts(texts: list[str], part: str) -> None:
    for row, text in enumerate(texts):
        if not text.strip():
            raise UserError(f"row {row} of the {part} is empty: every row needs some text")
        if half_character(text):
            raise UserError(f"row {row} of the {part} holds half a character (a lone surrogate): repair or remove it")


def numbered(texts: list[str], labels: list[int]) -> Texts:
    """Texts in their canonical form, and their labels (N,) int64."""
    return [canonical(text) for text in texts], torch.tensor(labels, dtype=torch.int64)
