"""Labels that nobody gave: the class whose mean feature is nearest."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def nearest_centres(features: Tensor, labels: Tensor, trusted: Tensor, classes: int) -> Tensor:
    """For each row the class whose centre has the highest cosine with its features, (N,) int64.

    Args:
        features: (N, F).
        labels: (N,) int64.
        trusted: (N,) bool, the rows whose features and labels make the centres; a class without any is never chosen.
        classes: how many.

    >>> import torch
    >>> features = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.9, 0.1], [0.1, 0.9]])
    >>> labels = torch.tensor([0, 1, 1, 1])
    >>> nearest_centres(features, labels, torch.tensor([True, True, False, False]), classes=2).tolist()
    [0, 1, 0, 1]
    """
    rows = functional.normalize(features, dim=1)
    own = functional.one_hot(labels[trusted], classes).to(rows)
    centres = own.T @ rows[trusted]
    near = rows @ functional.normalize(centres, dim=1).T
    return near.masked_fill(own.sum(0) == 0, float("-inf")).argmax(1)
