"""Texts and labels in memory, on their way into three parts."""

from __future__ import annotations

import torch

from bdm_core.errors import UserError
from bdm_kit_classification.data.division import divide
from bdm_kit_classification.data.parts import Parts
from bdm_kit_classification.texts.words import canonical

Texts = tuple[list[str], torch.Tensor]


def labelled_texts(texts: list[str], labels: list[int], classes: list[str], tested: Texts | None = None) -> Parts:
    """Texts of a stranger in three parts. Raises UserError if one is empty, or a class too small."""
    empty = next((row for row, text in enumerate(texts) if not text.strip()), None)
    if empty is not None:
        raise UserError(f"row {empty} of the texts is empty: every row needs some text")
    stored, numbers = numbered(texts, labels)
    return divide(stored, numbers, classes, tested)


def numbered(texts: list[str], labels: list[int]) -> Texts:
    """Texts in their canonical form, and their labels (N,) int64."""
    return [canonical(text) for text in texts], torch.tensor(labels, dtype=torch.int64)
