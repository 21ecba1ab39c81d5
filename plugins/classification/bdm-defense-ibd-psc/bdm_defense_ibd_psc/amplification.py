"""IBD-PSC (Hou et al., ICML 2024, arXiv 2405.09786): parameter-oriented scaled prediction consistency.

The normalisations of the last layers are amplified until clean rows are misclassified; the class that a trigger asks
for keeps its confidence.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from bdm_core.errors import UserError
from bdm_defense_ibd_psc.params import IbdPscParams
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.models.classifier import Classifier
from bdm_kit_classification.training.fitting import accuracy, predict


@dataclass(frozen=True)
class Amplification:
    """What is amplified.

    Attributes:
        layers: the fewest of the last normalisations with which clean rows are misclassified; k in the paper.
        factor: omega.
        errors: on clean rows with 1, 2, ... layers, as far as they were tried with this factor.
    """

    layers: int
    factor: float
    errors: list[float]


@contextmanager
def amplified(classifier: Classifier, layers: int, factor: float) -> Iterator[Classifier]:
    """The classifier with scale and shift of its last so many normalisations multiplied; afterwards it is as it was."""
    chosen = [norm for norm in list(classifier.norms().values())[-layers:] if norm.affine]
    kept = [(norm.weight.detach().clone(), norm.bias.detach().clone()) for norm in chosen]
    try:
        with torch.no_grad():
            for norm in chosen:
                norm.weight.mul_(factor)
                norm.bias.mul_(factor)
        yield classifier
    finally:
        with torch.no_grad():
            for norm, (weight, bias) in zip(chosen, kept, strict=True):
                norm.weight.copy_(weight)
                norm.bias.copy_(bias)


def require_norms(classifier: Classifier, models: int) -> int:
    """How many normalisations there are.

    Raises:
        UserError: too few for so many amplified models.
    """
    count = len(classifier.norms())
    if count < models + 1:
        raise UserError(
            f"ibd-psc amplifies up to {models} batch normalisations more than one, and this model has {count}: it "
            f"needs at least {models + 1}; choose a deeper model, such as preact-resnet18, or lower models"
        )
    return count


def choose_amplification(classifier: Classifier, clean: LabelledSamples, params: IbdPscParams) -> Amplification:
    """The fewest layers, and the smallest factor, with which the error on clean rows is above ``least_error``.

    Raises:
        UserError: there are too few normalisations, or no number of layers reaches the error.
    """
    count, worst, factor = require_norms(classifier, params.models), 0.0, params.factor
    while True:
        errors: list[float] = []
        for layers in range(1, count - params.models + 2):
            with amplified(classifier, layers, factor):
                errors.append(1 - accuracy(classifier, clean))
            if errors[-1] > params.least_error:
                return Amplification(layers, factor, errors)
        worst = max(worst, *errors)
        if factor >= params.largest_factor:
            break
        factor = min(factor + 0.5, params.largest_factor)
    raise UserError(
        f"ibd-psc cannot judge this model: with its last 1 to {count - params.models + 1} batch normalisations "
        f"amplified by up to {factor:g} the error on clean rows is at most {worst:.2f}, and it must be above "
        f"{params.least_error:g}; raise largest_factor or lower least_error or models"
    )


def consistencies(
    classifier: Classifier, samples: LabelledSamples, found: Amplification, models: int, batch_size: int = 256
) -> Tensor:
    """PSC (N,) in [0, 1]: the mean confidence that k, k + 1, ..., k + models - 1 amplified layers leave to the class
    which the classifier predicts as it is (section 4.2).
    """
    classes = predict(classifier, samples, batch_size).classes
    total = torch.zeros(len(samples), dtype=torch.float64)
    for layers in range(found.layers, found.layers + models):
        with amplified(classifier, layers, found.factor):
            confidence = predict(classifier, samples, batch_size).logits.double().softmax(1)
        total += confidence.gather(1, classes[:, None])[:, 0]
    return total / models
