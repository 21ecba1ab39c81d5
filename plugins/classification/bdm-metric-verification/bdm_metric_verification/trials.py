"""Verification by cosine: who is enrolled, what a trial scores, and where both kinds of error are equally frequent."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, eq=False)
class Trials:
    """Scores of trial recordings against enrolled speakers.

    Attributes:
        scores: (T, E), cosines of embeddings with the enrolled speakers' mean directions.
        labels: (T,), the true speaker of each trial.
        speakers: (E,), who is enrolled.
        models: (E, F), their mean directions.
    """

    scores: Tensor
    labels: Tensor
    speakers: Tensor
    models: Tensor

    @property
    def genuine(self) -> Tensor:
        """Scores of trials against their own speaker."""
        return self.scores[self.labels[:, None] == self.speakers]

    @property
    def impostors(self) -> Tensor:
        """Scores of trials against all other speakers."""
        return self.scores[self.labels[:, None] != self.speakers]


def enrol(features: Tensor, labels: Tensor, count: int) -> Trials:
    """Enrol each speaker with the first ``count`` of the recordings, if more are there; the others are trials.

    Args:
        features: (N, F).
        labels: (N,).
        count: recordings a speaker is enrolled with.

    >>> features = torch.tensor([[1.0, 0.0], [2.0, 0.1], [0.0, 1.0], [0.1, 3.0]])
    >>> trials = enrol(features, torch.tensor([0, 0, 1, 1]), 1)
    >>> trials.genuine.round(decimals=2), trials.impostors.round(decimals=2)
    (tensor([1., 1.]), tensor([0.0500, 0.0300]))
    """
    directions = functional.normalize(features, dim=1)
    rows = {int(label): (labels == label).nonzero().flatten() for label in labels.unique()}
    able = {label: own for label, own in rows.items() if len(own) > count}
    models = [functional.normalize(directions[own[:count]].mean(0), dim=0) for own in able.values()]
    tried = torch.cat([own[count:] for own in able.values()]) if able else torch.zeros(0, dtype=torch.int64)
    stacked = torch.stack(models) if models else torch.zeros(0, features.shape[1])
    return Trials(directions[tried] @ stacked.T, labels[tried], torch.tensor(list(able), dtype=torch.int64), stacked)


def equal_error(genuine: Tensor, impostors: Tensor) -> tuple[float, float]:
    """The equal error rate and its threshold: trials at or above it are accepted.

    Of all thresholds it is the one where the shares of genuine trials that are refused and of impostors that are
    accepted differ least; the rate is their mean.

    Args:
        genuine: scores, at least one.
        impostors: scores, at least one.

    >>> round(equal_error(torch.tensor([0.9, 0.8, 0.3]), torch.tensor([0.1, 0.2, 0.7]))[0], 4)
    0.3333
    """
    thresholds = torch.cat([genuine, impostors]).unique()
    thresholds = torch.cat([thresholds, thresholds[-1:] + 1e-6])
    refused = torch.searchsorted(genuine.sort().values, thresholds) / len(genuine)
    accepted = 1 - torch.searchsorted(impostors.sort().values, thresholds) / len(impostors)
    best = int((refused - accepted).abs().argmin())
    return float((refused[best] + accepted[best]) / 2), float(thresholds[best])
