"""SCALE-UP (Guo et al., ICLR 2023, arXiv 2302.03251): scaled prediction consistency.

A picture whose prediction stays the same however much its pixels are amplified is suspicious. Without data the share of
unchanged predictions is the score; with a reserve it is standardised by that of clean pictures of the predicted class.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.defending.asking import AT_ONCE, Oracle
from bdm_kit_classification.models.classifier import batches


@dataclass(frozen=True, eq=False)
class Consistency:
    """What a classifier says of pictures and of their amplified copies.

    Attributes:
        classes: (N,) int64, predicted without amplification.
        shares: (N,) float64 in [0, 1]: of the factors, those that leave the prediction as it was (equation 1).
    """

    classes: Tensor
    shares: Tensor


def consistency(oracle: Oracle, samples: LabelledSamples, factors: tuple[float, ...]) -> Consistency:
    """Scaled prediction consistency: the share of factors n with f(clip(n x)) = f(x)."""
    classes, shares = [torch.zeros(0, dtype=torch.int64)], [torch.zeros(0, dtype=torch.float64)]
    for rows in batches(len(samples), max(1, AT_ONCE // (1 + len(factors)))):
        raw = samples.raw(list(rows))
        copies = torch.cat([raw, *((factor * raw).clamp(0, 1) for factor in factors)])
        predicted = oracle.logits(samples, copies).argmax(1).reshape(1 + len(factors), len(rows))
        classes.append(predicted[0])
        shares.append((predicted[1:] == predicted[:1]).double().mean(0))
    return Consistency(torch.cat(classes), torch.cat(shares))


@dataclass(frozen=True, eq=False)
class Usual:
    """Mean and standard deviation of the consistency of clean pictures, by predicted class.

    Attributes:
        means: (K,).
        deviations: (K,); at least half of what one factor counts.
    """

    means: Tensor
    deviations: Tensor

    def standardised(self, found: Consistency) -> Tensor:
        """(N,): by how many standard deviations each picture's consistency is above that of its class."""
        return (found.shares - self.means[found.classes]) / self.deviations[found.classes]


def usual(found: Consistency, classes: int, factors: int) -> Usual:
    """The statistics of clean pictures. A class of fewer than two pictures has those of all.

    >>> seen = Consistency(torch.tensor([0, 0, 1]), torch.tensor([0.2, 0.6, 1.0], dtype=torch.float64))
    >>> found = usual(seen, classes=2, factors=5)
    >>> [round(value, 3) for value in found.means.tolist()], [round(value, 3) for value in found.deviations.tolist()]
    ([0.4, 0.6], [0.283, 0.4])
    """
    means, deviations = [], []
    for label in range(classes):
        own = found.shares[found.classes == label]
        own = found.shares if len(own) < 2 else own
        means.append(own.mean())
        deviations.append(own.std().nan_to_num(0.0).clamp_min(0.5 / factors))
    return Usual(torch.stack(means), torch.stack(deviations))
