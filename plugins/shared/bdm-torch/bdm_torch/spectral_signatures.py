"""Spectral signatures (Tran, Li, Madry, NeurIPS 2018, arXiv 1811.00636, algorithm 1).

Features R of rows that belong together are centred; v is the first right singular vector of the centred matrix, and

    tau_i = ((R_i - mean R) . v)^2

is the outlier score of row i. Where a share epsilon of the rows is poisoned in one way, and shifts the mean of the
features by more than their spread, v is along this shift. The 1.5 epsilon rows of the highest scores are removed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Group:
    """Rows that are judged among themselves.

    Attributes:
        name: their label, or "all".
        rows: their number.
        cutoff: the highest tau that is not flagged.
        share: of the features' variance along v, in (0, 1].
    """

    name: str
    rows: int
    cutoff: float
    share: float


def outlier_scores(features: Tensor) -> tuple[Tensor, float]:
    """tau of each row of features (N, D), float64: (N,); and the share of the variance along v.

    Both are 0 if all rows are equal.

    >>> scores, share = outlier_scores(torch.tensor([[0.0, 1.0], [0.0, -1.0], [4.0, 0.0]]))
    >>> scores.round(decimals=2).tolist(), round(share, 2)
    ([1.78, 1.78, 7.11], 0.84)
    """
    centre, direction, share = first_direction(features)
    return ((features.double() - centre) @ direction).square(), share


def first_direction(features: Tensor) -> tuple[Tensor, Tensor, float]:
    """Mean (D,) and first right singular vector (D,) of the centred features (N, D), and the share of variance along.

    Float64. The share is 0 if all rows are equal.
    """
    centre = features.double().mean(0)
    _, values, directions = torch.linalg.svd(features.double() - centre, full_matrices=False)
    total = float(values.square().sum())
    return centre, directions[0], float(values[0].square()) / total if total else 0.0


def relative_scores(features: Tensor, names: Sequence[str], share: float) -> tuple[Tensor, list[Group]]:
    """tau over the highest tau of the row's group that is not flagged: (N,), above 1 for flagged rows.

    Args:
        features: (N, D).
        names: the group of each row.
        share: of each group's rows to flag, rounded; at least one row of a group is never flagged.
    """
    scores, groups = torch.zeros(len(features), dtype=torch.float64), []
    for name in sorted(set(names)):
        rows = torch.tensor([row for row, own in enumerate(names) if own == name])
        found, variance = outlier_scores(features[rows])
        flagged = min(round(share * len(rows)), len(rows) - 1)
        cutoff = float(found.sort(descending=True).values[flagged])
        scores[rows] = found / max(cutoff, 1e-12)
        groups.append(Group(name, len(rows), cutoff, variance))
    return scores, groups
