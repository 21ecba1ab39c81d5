"""STEP (Wang et al. 2026, arXiv 2603.18103): how the label of a recording behaves under two kinds of perturbations.

A trigger's label is anomalously stable under perturbations that break the content, and anomalously fragile under
others that preserve it. Each kind is a branch with a one-class detector, which knows clean recordings only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bdm_defense_step.perturbations import Perturbation
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.defending.asking import AT_ONCE, Oracle
from bdm_kit_classification.models.classifier import batches


@dataclass(frozen=True, eq=False)
class Profile:
    """What a classifier says of recordings and of their perturbed copies; of its answers only the labels are used.

    Attributes:
        classes: (N,) int64, labels of the recordings as they are.
        stable: (N, P) bool: whether each perturbation leaves the label as it was.
    """

    classes: Tensor
    stable: Tensor


def profiled(oracle: Oracle, samples: LabelledSamples, perturbations: Sequence[Perturbation]) -> Profile:
    """The profile of recordings under P perturbations, for 1 + P questions each."""
    count = 1 + len(perturbations)
    classes = [torch.zeros(0, dtype=torch.int64)]
    stable = [torch.zeros(0, len(perturbations), dtype=torch.bool)]
    for rows in batches(len(samples), max(1, AT_ONCE // count)):
        raw = samples.raw(list(rows))
        copies = torch.cat([raw, *(perturb(raw) for perturb in perturbations)])
        labels = oracle.logits(samples, copies).argmax(1).reshape(count, len(rows))
        classes.append(labels[0])
        stable.append((labels[1:] == labels[0]).T)
    return Profile(torch.cat(classes), torch.cat(stable))


@dataclass(frozen=True, eq=False)
class OneClass:
    """What is usual of clean recordings in one branch.

    Attributes:
        rates: (K, P) float64 in (0, 1): how often a perturbation leaves the label of clean recordings, by that label.
        stability: whether stability is the anomaly (semantic-breaking), or fragility (semantic-preserving).
    """

    rates: Tensor
    stability: bool

    def surprise(self, profile: Profile) -> Tensor:
        """How unusual recordings are, (N,) float64 from 0: the mean over perturbations of minus the logarithm of how
        likely a clean recording of the label behaves so, where it behaves in the anomalous way, else 0."""
        rates = self.rates[profile.classes]
        anomalous, likely = (profile.stable, rates) if self.stability else (~profile.stable, 1 - rates)
        return (anomalous * -likely.log()).mean(1)


def usual(profile: Profile, classes: int, pseudo_rows: float, *, stability: bool) -> OneClass:
    """The detector fitted on a profile of clean recordings.

    The rate of a label is that of its own rows and of ``pseudo_rows`` more that behave as all rows do, to which half a
    stable row and half one that is not are added: no rate is 0 or 1, and a label without rows has that of all.
    """
    stable, own = profile.stable.double(), torch.nn.functional.one_hot(profile.classes, classes).double()
    overall = (stable.sum(0) + 0.5) / (len(stable) + 1)
    return OneClass((own.T @ stable + pseudo_rows * overall) / (own.sum(0)[:, None] + pseudo_rows), stability)


def weights(of_clean: Sequence[Tensor]) -> Tensor:
    """Weights of branches, (B,) float64 of sum 1, from their scores of clean recordings: by the inverse deviation.

    No triggered recording is needed: a branch counts by how far it is above what it says of clean ones. A branch that
    says the same of all clean recordings counts as if it deviated by a hundredth.

    >>> weights([torch.tensor([0.0, 2.0]), torch.tensor([0.0, 6.0])]).tolist()
    [0.75, 0.25]
    """
    deviations = torch.stack([scores.double().std(correction=0) for scores in of_clean]).clamp_min(0.01)
    return deviations.reciprocal() / deviations.reciprocal().sum()
