"""What the batch normalisations of a classifier see of some samples."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.defending.pruning import norm_units
from bdm_kit_classification.models.classifier import Classifier

Summary = Callable[[Tensor], Tensor]
"""From pre-activations (N, C, H, W) of a batch to what is kept of each sample, (N, C) or (N, C, K)."""


def preactivations(classifier: Classifier, samples: LabelledSamples, keep: Summary) -> dict[str, Tensor]:
    """What is kept of the input of every batch normalisation, in evaluation mode, for all samples.

    Args:
        classifier: stays as it is.
        samples: shown once.
        keep: what is kept of a batch.

    Returns:
        By the normalisation's name a tensor whose rows are the samples, on the CPU.

    Raises:
        UserError: there is no batch normalisation.

    >>> from bdm_kit_classification.models.image_classifiers import ImageConfig, build
    >>> classifier = build(ImageConfig(architecture="cnn", shape=(1, 8, 8), classes=["a", "b"], width=2), seed=0)
    >>> rows = LabelledSamples(torch.zeros(5, 1, 8, 8, dtype=torch.uint8), torch.zeros(5), ["a", "b"],
    ...                        "image-classification")
    >>> seen = preactivations(classifier, rows, lambda maps: maps.amax((2, 3)))
    >>> {name: tuple(values.shape) for name, values in seen.items()}
    {'network.norms.0': (5, 2), 'network.norms.1': (5, 4), 'network.norms.2': (5, 8), 'network.norms.3': (5, 8)}
    """
    kept: dict[str, list[Tensor]] = {name: [] for name in norm_units(classifier)}

    def watch(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda module, given: kept[name].append(keep(given[0].detach()).float().cpu())

    hooks = [norm.register_forward_pre_hook(watch(name)) for name, norm in norm_units(classifier).items()]
    training = classifier.training
    classifier.eval()
    try:
        with torch.inference_mode():
            for _, raw in samples.split():
                classifier(samples.modality.collate(raw, classifier))
    finally:
        for hook in hooks:
            hook.remove()
        classifier.train(training)
    return {name: torch.cat(values).clone() for name, values in kept.items()}


def standardised(scores: Tensor) -> Tensor:
    """By how many standard deviations each score is above the mean of the finite ones; those not finite stay.

    >>> standardised(torch.tensor([1.0, 3.0, float("-inf")])).tolist()
    [-1.0, 1.0, -inf]
    """
    finite = scores[scores.isfinite()]
    if len(finite) < 2 or not bool(finite.std(correction=0) > 0):
        return torch.where(scores.isfinite(), torch.zeros_like(scores), scores)
    return (scores - finite.mean()) / finite.std(correction=0)


def falling_cuts(highest: float = 6.0, lowest: float = 0.5, step: float = 0.1) -> list[float]:
    """Thresholds for a sweep over standardised scores.

    >>> falling_cuts(2.0, 1.0, 0.5)
    [2.0, 1.5, 1.0]
    """
    return [round(highest - number * step, 6) for number in range(round((highest - lowest) / step) + 1)]
