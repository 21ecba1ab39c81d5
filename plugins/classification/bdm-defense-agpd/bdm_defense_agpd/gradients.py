"""Directions of activation gradients (Yuan et al., Activation Gradient based Poisoned Sample Detection, ICLR 2025,
arXiv 2312.06230).

The gradient of a row's logit, that of its label, by a layer's activations says what makes the row belong to its class.
Its direction lies on a sphere; those of clean rows of a class lie around their mean direction, and poisoned rows,
which belong to the class for another reason, at a large angle to it.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdm_core.errors import UserError
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.defending.feature_maps import watched
from bdm_kit_classification.models.classifier import Classifier

CONSISTENT = 1.4826


def layers_of(classifier: Classifier) -> dict[str, nn.Module]:
    """Where gradients are taken: behind each convolution, or behind the normalisation that follows it."""
    return {pair.name: pair.norm or pair.layer for pair in classifier.prunable_layers()}


def chosen_layers(classifier: Classifier, name: str) -> dict[str, nn.Module]:
    """The layers that are looked at: the one of this name, or all for ``widest``.

    Raises:
        UserError: there is none.
    """
    layers = layers_of(classifier)
    if not layers:
        raise UserError(
            "agpd looks at convolutions and linear maps, and this model has none but its head: choose another model, "
            "or another defense"
        )
    if name == "widest":
        return layers
    if name not in layers:
        raise UserError(f"this classifier has no layer {name!r}: known are {', '.join(layers)}")
    return {name: layers[name]}


def directions(
    classifier: Classifier,
    samples: LabelledSamples,
    layers: dict[str, nn.Module],
    *,
    pooled: bool = False,
    batch_size: int = 256,
) -> Iterator[tuple[Tensor, list[Tensor]]]:
    """Unit gradients of each row's logit by the activations, a batch at a time.

    Args:
        classifier: put into evaluation mode.
        samples: the rows.
        layers: of the classifier, by name.
        pooled: whether a channel counts by the mean over its places, as in the authors' code.
        batch_size: rows at once.

    Returns:
        The labels (n,) of the batch, and for each layer (n, D) float32: all channels and places in one, or (n, C).
    """
    classifier.eval()
    names = {id(module): place for place, module in enumerate(layers.values())}
    for rows, raw in samples.split(batch_size):
        seen: dict[int, Tensor] = {}

        def see(module: nn.Module, given: Tensor, made: Tensor, seen: dict[int, Tensor] = seen) -> None:
            seen[names[id(module)]] = made

        labels = samples.labels[rows]
        with torch.enable_grad(), watched(list(layers.values()), see):
            inputs = samples.modality.collate(raw, classifier).requires_grad_()
            logits = classifier(inputs)
            total = logits.gather(1, labels.to(logits.device)[:, None]).sum()
            found = torch.autograd.grad(total, [seen[place] for place in range(len(layers))])
        if pooled:
            found = tuple(gradient.flatten(2).mean(2) if gradient.ndim > 2 else gradient for gradient in found)
        yield labels, [functional.normalize(gradient.flatten(1).float(), dim=1).cpu() for gradient in found]


def mean_directions(classifier: Classifier, samples: LabelledSamples, layers: dict[str, nn.Module]) -> list[Tensor]:
    """For each layer the mean direction of the rows of each class, (K, D) of length 1; 0 for a class without rows."""
    sums: list[Tensor] = []
    for labels, found in directions(classifier, samples, layers):
        member = functional.one_hot(labels, len(classifier.classes)).float()
        parts = [member.T @ unit for unit in found]
        sums = [total + part for total, part in zip(sums, parts, strict=True)] if sums else parts
    return [functional.normalize(total, dim=1) for total in sums]


def angles(
    classifier: Classifier, samples: LabelledSamples, layers: dict[str, nn.Module], means: list[Tensor]
) -> Tensor:
    """Angle of each row's gradient to the mean direction of clean rows of its class, (N, layers) in [0, pi]."""
    found = [
        torch.stack([(unit * mean[labels]).sum(1) for unit, mean in zip(units, means, strict=True)], 1)
        for labels, units in directions(classifier, samples, layers)
    ]
    return torch.cat(found).clamp(-1, 1).acos().double()


def spreads(found: Tensor, labels: Tensor) -> Tensor:
    """How far the angles (N, layers) of each class are spread, beside the other classes: (K, layers).

    The standard deviation of a class's angles, less its median over the classes, in robust standard deviations.
    """
    return standing_out(
        torch.stack([found[labels == label].std(0, correction=0) for label in sorted(set(labels.tolist()))])
    )


def standing_out(of_class: Tensor) -> Tensor:
    """Numbers (K, layers) of K classes, less their median over the classes, in robust standard deviations.

    >>> values = torch.tensor([[1.0], [2.0], [3.0], [9.0]], dtype=torch.float64)
    >>> standing_out(values).round(decimals=3).flatten().tolist()
    [-1.012, -0.337, 0.337, 4.384]
    """
    from_median = of_class - of_class.quantile(0.5, dim=0)
    return from_median / (CONSISTENT * from_median.abs().quantile(0.5, dim=0)).clamp_min(1e-9)
