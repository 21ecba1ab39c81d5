"""TABOR (Guo et al. 2019, arXiv 1908.01763): what a trigger looks like, as regularisers of the inversion.

Of a mask m and a pattern p, with q = (1 - m) p what the pattern has outside the mask:

- overly large triggers: elastic nets |m|_1 + |m|_2^2 and |q|_1 + |q|_2^2,
- scattered triggers: squared differences of neighbours of m, and of q,
- blocking triggers: cross entropy of x (1 - m) and the true class of x,
- overlaying triggers: cross entropy of m p and the target class.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from bdm_defense_tabor.params import TaborParams
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.inversion.detection import Method
from bdm_kit_classification.inversion.search import Inverted, Size, Stamp, stamped
from bdm_kit_classification.models.classifier import Classifier
from bdm_torch.calibration_file import Calibrated

FILTER = 0.1
"""Entries of a mask below this share of its largest count as zero when triggers are compared."""


def elastic(values: Tensor) -> Tensor:
    """|v|_1 + |v|_2^2 of each of K tensors, (K,).

    >>> elastic(torch.tensor([[1.0, -2.0]])).tolist()
    [8.0]
    """
    flat = values.flatten(1)
    return flat.abs().sum(1) + flat.square().sum(1)


def roughness(values: Tensor) -> Tensor:
    """The sum of squared differences of neighbours, down and across, of each of K pictures (K, C, H, W); (K,).

    >>> roughness(torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]])).tolist()
    [10.0]
    """
    return values.diff(dim=2).square().flatten(1).sum(1) + values.diff(dim=3).square().flatten(1).sum(1)


def blocking(stamp: Stamp) -> Tensor:
    """Cross entropy of the rows without what the mask covers and their true classes, (K,)."""
    left = (1 - stamp.masks[:, None]) * stamp.inputs
    logits = stamp.classifier(left.flatten(0, 1))
    error = functional.cross_entropy(logits, stamp.labels.repeat(len(left)), reduction="none")
    return error.view(len(left), -1).mean(1)


def overlaying(stamp: Stamp) -> Tensor:
    """Cross entropy of the trigger alone and its class, (K,)."""
    return functional.cross_entropy(stamp.classifier(stamp.masks * stamp.patterns), stamp.targets, reduction="none")


def unlike_a_trigger(params: TaborParams) -> Size:
    """The weighted sum of all six regularisers; those of weight 0 are not computed."""

    def size(stamp: Stamp) -> Tensor:
        outside = (1 - stamp.masks) * stamp.patterns
        total = params.mask_elastic * elastic(stamp.masks) + params.outside_elastic * elastic(outside)
        total = total + params.mask_smoothness * roughness(stamp.masks) + params.outside_smoothness * roughness(outside)
        if params.blocking:
            total = total + params.blocking * blocking(stamp)
        if params.overlaying:
            total = total + params.overlaying * overlaying(stamp)
        return total

    return size


def quality(classifier: Classifier, samples: LabelledSamples, found: Inverted) -> Tensor:
    """How unlike a trigger each class's is, (K,); low is suspicious.

    The sum of log(share of the picture covered), log(roughness per pair of neighbours), and minus the logs of three
    shares of clean rows: those the trigger sends to its class, those still classified rightly without what it covers,
    and whether the trigger alone belongs to its class (its confidence). Shares of rows, of pixels and of pairs count as
    half of one at least.
    """
    classifier.eval()
    inputs = samples.modality.collate(samples.raw(), classifier)
    labels, least = samples.labels.to(inputs.device), 0.5 / len(samples)
    strong = (found.masks > FILTER * found.masks.amax((1, 2, 3), keepdim=True)).float()
    covered = strong.flatten(1).mean(1)
    height, width = strong.shape[2:]
    neighbours = (height - 1) * width + height * (width - 1)
    rough = roughness(strong) / neighbours
    values = []
    with torch.no_grad():
        for place, (mask, pattern) in enumerate(zip(found.masks.to(inputs), found.patterns.to(inputs), strict=True)):
            sent = (classifier(stamped(inputs, mask, pattern)).argmax(1) == place).float().mean()
            right = (classifier((1 - mask) * inputs).argmax(1) == labels).float().mean()
            alone = classifier((mask * pattern)[None]).softmax(1)[0, place]
            values.append(-torch.stack([sent, right, alone]).clamp_min(least).log().sum().cpu())
    return (
        covered.clamp_min(0.5 / (height * width)).log() + rough.clamp_min(0.5 / neighbours).log() + torch.stack(values)
    )


METHOD = Method(calibrated=Calibrated("tabor", "bdm_defense_tabor"), size=unlike_a_trigger, value=quality)
