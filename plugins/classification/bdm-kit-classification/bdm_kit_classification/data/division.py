"""Divide data that come in one piece into training, reserve and test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from bdm_core.errors import UserError
from bdm_kit_classification.data.parts import Parts
from bdm_kit_classification.data.samples import RESERVE, TEST

SHARES = {RESERVE: 0.1, TEST: 0.15}
"""So much for the defender and for evaluation, drawn class by class."""
SPLIT_SEED = 0


def divide(
    stored: Any,
    labels: torch.Tensor,
    classes: Sequence[str],
    test: tuple[Any, torch.Tensor] | None = None,
) -> Parts:
    """Three disjoint parts, of every class the same share, always the same ones.

    Args:
        stored: the samples, a tensor or a list.
        labels: (N,) int64.
        classes: their names.
        test: samples and labels of the test part where it is given; else it is taken from these.

    Raises:
        UserError: a class is too small to be in every part.

    >>> parts = divide(torch.zeros(100, 1, 8, 8, dtype=torch.uint8), torch.arange(100) % 2, ["a", "b"])
    >>> [len(labels) for _, labels in parts[:3]]
    [74, 10, 16]
    """
    generator = torch.Generator().manual_seed(SPLIT_SEED)
    chosen: dict[str, list[int]] = {"training": [], RESERVE: [], TEST: []}
    for label, name in enumerate(classes):
        rows = (labels == label).nonzero().flatten()
        order = rows[torch.randperm(len(rows), generator=generator)].tolist()
        sizes = [max(1, round(SHARES[RESERVE] * len(order))), 0 if test else max(1, round(SHARES[TEST] * len(order)))]
        if sum(sizes) >= len(order):
            raise UserError(
                f"the class {name!r} has {len(order)} samples: too few for training, reserve and test; add some"
            )
        chosen[RESERVE] += order[: sizes[0]]
        chosen[TEST] += order[sizes[0] : sum(sizes)]
        chosen["training"] += order[sum(sizes) :]
    made = {}
    for name, rows in chosen.items():
        mixed = torch.tensor(sorted(rows), dtype=torch.int64)
        mixed = mixed[torch.randperm(len(mixed), generator=generator)]
        chosen_samples = stored[mixed] if isinstance(stored, torch.Tensor) else [stored[row] for row in mixed.tolist()]
        made[name] = (chosen_samples, labels[mixed])
    return Parts(made["training"], made[RESERVE], test or made[TEST], list(classes))
