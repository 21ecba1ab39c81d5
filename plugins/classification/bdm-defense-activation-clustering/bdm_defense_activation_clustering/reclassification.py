"""Exclusionary reclassification (Chen et al. 2018, arXiv 1811.03728, section on analysing clusters): what a model says
of clusters that it was not trained on.

A new model learns the rows without the clusters in question and classifies these. Rows that are what their label says
are mostly told so; poisoned ones, which the new model has not learnt to misread, mostly go to the class that they come
from. With l rows of a cluster classified as their label and p as the most frequent other class, the source, a cluster
is poisoned where l / p is below T, published 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bdm_core.context import Context
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.models.classifier import Classifier
from bdm_kit_classification.training.fitting import fit, predict
from bdm_kit_classification.training.params import ClassifierTraining


@dataclass(frozen=True)
class Reclassified:
    """How the rows of one cluster were classified.

    Attributes:
        own: l, rows classified as their label.
        other: p, rows classified as the most frequent other class.
        source: that class.
    """

    own: int
    other: int
    source: int

    def poisoned(self, threshold: float) -> bool:
        """Whether l / p is below a threshold.

        >>> Reclassified(own=3, other=4, source=1).poisoned(1.0), Reclassified(own=4, other=0, source=1).poisoned(1.0)
        (True, False)
        """
        return self.own < threshold * self.other


def counted(said: Tensor, label: int, classes: int) -> Reclassified:
    """What was said (n,) of rows with one label.

    >>> counted(torch.tensor([2, 0, 1, 1, 2, 2]), label=2, classes=4)
    Reclassified(own=3, other=2, source=1)
    """
    counts = torch.bincount(said, minlength=classes)
    own = int(counts[label])
    counts[label] = -1
    return Reclassified(own, int(counts.max()), int(counts.argmax()))


def reclassify(
    ctx: Context, params: ClassifierTraining, classifier: Classifier, samples: LabelledSamples, questioned: Tensor
) -> dict[int, Reclassified]:
    """What a new model, trained on the other rows, says of those in question: for each of their labels.

    Args:
        ctx: of the stage.
        params: of the training.
        classifier: says the architecture; its weights are not used.
        samples: all training rows.
        questioned: (N,) bool, one cluster of each class, or none.
    """
    if not bool(questioned.any()):
        return {}
    made = classifier.fresh(ctx.seed)
    fit(ctx, made, samples.pick(~questioned), params, label="train without the clusters in question")
    asked = samples.pick(questioned)
    said = predict(made, asked).classes
    labels = sorted(set(asked.labels.tolist()))
    return {label: counted(said[asked.labels == label], label, len(samples.classes)) for label in labels}
