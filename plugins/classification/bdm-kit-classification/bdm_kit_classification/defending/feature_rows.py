"""What detectors of training rows look at: features and labels of the suspects and of clean rows of the reserve."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_kit_classification.data.grouping import Units, groups_of, share_of
from bdm_kit_classification.data.samples import LabelledSamples, open_samples
from bdm_kit_classification.models.classifier import Classifier, load_classifier
from bdm_kit_classification.training.fitting import predict


@dataclass(frozen=True, eq=False)
class FeatureRows:
    """Penultimate features of rows with the labels that the rows came with.

    Attributes:
        features: (N, F) float64.
        labels: (N,) int64.
        groups: of each row (:mod:`bdm_kit_classification.data.grouping`); a group of its own each by default.

    >>> rows = FeatureRows(torch.eye(3, dtype=torch.float64), torch.tensor([1, 0, 1]))
    >>> rows.of(1).shape, rows.pick([0]).labels.tolist(), [label for label, _ in rows.by_class()]
    (torch.Size([2, 3]), [1], [0, 1])
    """

    features: Tensor
    labels: Tensor
    groups: Sequence[Hashable] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def of(self, label: int) -> Tensor:
        """The features of the rows with this label."""
        return self.features[self.labels == label]

    def pick(self, rows: list[int] | Tensor) -> FeatureRows:
        """Chosen rows."""
        chosen = torch.as_tensor(rows)
        groups = [self.groups[row] for row in chosen.tolist()] if self.groups else ()
        return FeatureRows(self.features[chosen], self.labels[chosen], groups)

    def by_class(self) -> Iterator[tuple[int, Tensor]]:
        """Each label that occurs, in order, with the numbers of its rows."""
        for label in sorted(set(self.labels.tolist())):
            yield label, (self.labels == label).nonzero().flatten()


def feature_rows(classifier: Classifier, samples: LabelledSamples) -> FeatureRows:
    """Penultimate features of samples, with their labels and groups."""
    return FeatureRows(predict(classifier, samples).features.double(), samples.labels, groups_of(samples.facts))


def suspects_and_clean(ctx: Context, model: Model, suspects: Data, data: Data) -> tuple[FeatureRows, FeatureRows]:
    """Features by the backdoored model of all training rows, and of the clean rows of the reserve.

    Raises:
        ArtifactError: as :func:`bdm_kit_classification.data.samples.open_samples`.
    """
    classifier = load_classifier(model, ctx.device)
    return feature_rows(classifier, open_samples(suspects)), feature_rows(classifier, open_samples(data))


def divided(rows: FeatureRows, share: float, seed: int) -> tuple[FeatureRows, FeatureRows]:
    """Rows to fit on, and a ``share`` of every class, at least one row, that is held out for the threshold.

    Groups stay together, as :func:`bdm_kit_classification.defending.reserve.hold_out` says. A class with one row keeps
    it in the first part; where no class has two, the share is one of all rows.

    >>> rows = FeatureRows(torch.zeros(9, 1), torch.tensor([0] * 4 + [1] * 4 + [2]))
    >>> fitted, held = divided(rows, 0.25, seed=0)
    >>> len(fitted), held.labels.tolist()
    (7, [0, 1])
    """

    def shuffling() -> Callable[[Units], Units]:
        chance = torch.Generator().manual_seed(seed % 2**63)
        return lambda units: [units[place] for place in torch.randperm(len(units), generator=chance).tolist()]

    labels = rows.labels.tolist()
    classes = max(labels, default=-1) + 1
    out = share_of(labels, rows.groups or range(len(rows)), classes, share, shuffling)
    held = torch.zeros(len(rows), dtype=torch.bool)
    held[out] = True
    return rows.pick((~held).nonzero().flatten()), rows.pick(held.nonzero().flatten())
