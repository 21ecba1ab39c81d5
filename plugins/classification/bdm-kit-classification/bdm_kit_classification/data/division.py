"""Divide data that come in one piece into training, reserve and test."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import torch

from bdm_core.errors import UserError
from bdm_kit_classification.data.grouping import how_many, strata
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
    groups: Sequence[str] | None = None,
) -> Parts:
    """Three disjoint parts, of every class the same share, always the same ones.

    Args:
        stored: the samples, a tensor or a list.
        labels: (N,) int64.
        classes: their names.
        test: samples and labels of the test part where it is given; else it is taken from these.
        groups: of each row the name of its group (a speaker, a sign), which stays in one part; None where rows are
            independent. Where groups are so few that a class would be missing in a part, they are not looked at.

    Raises:
        UserError: a class is too small to be in every part.

    >>> parts = divide(torch.zeros(100, 1, 8, 8, dtype=torch.uint8), torch.arange(100) % 2, ["a", "b"])
    >>> [len(labels) for _, labels in parts[:3]]
    [74, 10, 16]
    >>> parts = divide(torch.arange(40), torch.arange(40) % 2, ["a", "b"], groups=[str(row // 4) for row in range(40)])
    >>> sorted(parts.reserve[0].tolist()), parts.groups
    ([16, 17, 18, 19], ['4', '4', '4', '4'])
    """
    shares = [SHARES[RESERVE], 0.0 if test else SHARES[TEST]]
    numbers, alone = labels.tolist(), range(len(labels))
    generator = torch.Generator().manual_seed(SPLIT_SEED)
    chosen = _chosen(numbers, groups, shares, len(classes), generator) if groups else None
    if chosen is None:
        groups, generator = None, torch.Generator().manual_seed(SPLIT_SEED)
        chosen = _chosen(numbers, alone, shares, len(classes), generator)
    if chosen is None:
        few = min(range(len(classes)), key=numbers.count)
        raise UserError(
            f"the class {classes[few]!r} has {numbers.count(few)} samples: too few for training, reserve and test; "
            "add some"
        )
    made, named = [], []
    for rows in chosen:
        mixed = torch.tensor(sorted(rows), dtype=torch.int64)
        mixed = mixed[torch.randperm(len(mixed), generator=generator)]
        named.append(mixed.tolist())
        chosen_samples = stored[mixed] if isinstance(stored, torch.Tensor) else [stored[row] for row in named[-1]]
        made.append((chosen_samples, labels[mixed]))
    kept = [groups[row] for row in named[1]] if groups else []
    return Parts(made[0], made[1], test or made[2], list(classes), groups=kept)


def _chosen(
    labels: list[int], groups: Sequence[Hashable], shares: Sequence[float], classes: int, generator: torch.Generator
) -> list[list[int]] | None:
    """Rows of training, reserve and test in whole groups; None if a class is missing in one of them."""
    parts: list[list[int]] = [[], [], []]
    for units in strata(labels, groups, classes):
        order = [units[place] for place in torch.randperm(len(units), generator=generator).tolist()]
        total, start = sum(map(len, units)), 0
        for part, share in enumerate(shares, start=1):
            count = how_many(order[start:], round(share * total)) if share else 0
            parts[part] += [row for unit in order[start : start + count] for row in unit]
            start += count
        parts[0] += [row for unit in order[start:] for row in unit]
    wanted = [part for part, share in zip(parts, (1, *shares), strict=True) if share]
    return parts if all(len({labels[row] for row in part}) == classes for part in wanted) else None
