"""What each unit of each layer does without and with the trigger."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bdm_kit_classification.analysis.rows import Examined
from bdm_kit_classification.models.channel_bounds import channel_bounds
from bdm_kit_classification.models.classifier import Classifier, PrunableLayer, batches
from bdm_kit_classification.models.feature_maps import outputs_of

BATCH = 128


@dataclass(frozen=True, eq=False)
class LayerUnits:
    """The units of one layer; U units, N samples.

    Attributes:
        name: of the layer.
        tac: (U,) trigger-activated change: the mean over samples of the Euclidean distance of the unit's map with the
            trigger from that without it, before the activation function (Zheng et al. 2022, equation 4).
        lipschitz: (U,) bound of :func:`bdm_kit_classification.models.channel_bounds.channel_bounds`.
        clean, triggered: (N, U) mean of the unit's map behind a ReLU.
    """

    name: str
    tac: Tensor
    lipschitz: Tensor
    clean: Tensor
    triggered: Tensor

    @property
    def order(self) -> list[int]:
        """The units, the most changed one first."""
        return [int(unit) for unit in self.tac.argsort(descending=True, stable=True)]


def source(layer: PrunableLayer) -> nn.Module:
    """The module whose output is the unit's pre-activation: the normalisation, or the layer without one."""
    return layer.layer if layer.norm is None else layer.norm


def by_unit(output: Tensor) -> Tensor:
    """(N, U, P): P places of a map, tokens of a transformer, or one.

    >>> by_unit(torch.zeros(2, 3, 4, 5)).shape, by_unit(torch.zeros(2, 7, 3)).shape, by_unit(torch.zeros(2, 3)).shape
    (torch.Size([2, 3, 20]), torch.Size([2, 3, 7]), torch.Size([2, 3, 1]))
    """
    if output.ndim == 4:
        return output.flatten(2)
    return output.transpose(1, 2) if output.ndim == 3 else output[:, :, None]


def look(examined: Examined) -> list[LayerUnits]:
    """The units of every prunable layer, from the input to the output."""
    classifier, layers = examined.classifier, examined.classifier.prunable_layers()
    without, triggered = examined.inputs(examined.without), examined.inputs(examined.triggered)
    changes: list[list[Tensor]] = [[] for _ in layers]
    means: list[list[list[Tensor]]] = [[[], []] for _ in layers]
    for rows in batches(len(without), BATCH):
        chosen = list(rows)
        seen = [maps_of(classifier, layers, inputs[chosen]) for inputs in (without, triggered)]
        for place, (one, other) in enumerate(zip(*seen, strict=True)):
            changes[place].append((other - one).norm(dim=2))
            for kept, maps in zip(means[place], (one, other), strict=True):
                kept.append(maps.clamp_min(0).mean(2))
    return [
        LayerUnits(layer.name, torch.cat(change).mean(0), channel_bounds(layer).float(), *map(torch.cat, kept))
        for layer, change, kept in zip(layers, changes, means, strict=True)
    ]


def maps_of(classifier: Classifier, layers: list[PrunableLayer], inputs: Tensor) -> list[Tensor]:
    """(N, U, P) pre-activations of each layer, on the CPU."""
    with outputs_of([source(layer) for layer in layers]) as outputs, torch.no_grad():
        classifier(inputs)
        return [by_unit(output).float().cpu() for output in outputs]
