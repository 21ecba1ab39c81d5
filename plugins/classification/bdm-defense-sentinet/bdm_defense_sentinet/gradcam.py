"""Grad-CAM (Selvaraju et al., ICCV 2017, arXiv 1610.02391): where a classifier looks for the class it predicts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdm_core.errors import UserError
from bdm_kit_classification.models.classifier import Classifier


@contextmanager
def _watched(layer: nn.Module) -> Iterator[list[Tensor]]:
    seen: list[Tensor] = []
    handle = layer.register_forward_hook(lambda module, inputs, output: seen.append(output))
    try:
        yield seen
    finally:
        handle.remove()


def map_layer(classifier: Classifier, picture: Tensor, share: float) -> nn.Module:
    """The layer whose output is mapped: the last convolution (with its normalisation, where it has one of its own)
    whose output is at least ``share`` times as high and wide as the picture.

    Args:
        classifier: with convolutions.
        picture: (1, C, H, W).
        share: in [0, 1].

    Raises:
        UserError: there is none.
    """
    for found in reversed(classifier.prunable_layers()):
        layer: nn.Module = found.layer if found.norm is None else found.norm
        with _watched(layer) as seen, torch.no_grad():
            classifier(picture)
        if seen and seen[0].ndim == 4 and min(seen[0].shape[2:]) >= share * min(picture.shape[2:]):
            return layer
    raise UserError(
        f"sentinet needs a convolution whose output has {share:g} of the picture's side, and this model has none; "
        "lower map_share or choose a convolutional model"
    )


def class_maps(classifier: Classifier, layer: nn.Module, inputs: Tensor, classes: Tensor) -> Tensor:
    """Grad-CAM of a class for each picture (equations 1 and 2).

    The channels of the layer's output, weighted by the mean gradient of the class's logit, summed, cut off at zero.

    Args:
        classifier: in evaluation mode.
        layer: of it.
        inputs: (N, C, H, W).
        classes: (N,) int64.

    Returns:
        (N, H, W), enlarged bilinearly to the picture's size, from 0.
    """
    with _watched(layer) as seen, torch.enable_grad():
        logits = classifier(inputs.detach().requires_grad_())
        chosen: Any = logits.gather(1, classes[:, None]).sum()
        (slopes,) = torch.autograd.grad(chosen, seen[0])
    maps = (slopes.mean((2, 3), keepdim=True) * seen[0].detach()).sum(1, keepdim=True).relu()
    return functional.interpolate(maps, inputs.shape[2:], mode="bilinear", align_corners=False)[:, 0]


def regions(maps: Tensor, threshold: float) -> Tensor:
    """Where a map has at least this share of its maximum: (N, H, W) bool. A map without any value has no region.

    >>> regions(torch.tensor([[[0.0, 0.4, 1.0]], [[0.0, 0.0, 0.0]]]), 0.4).tolist()
    [[[False, True, True]], [[False, False, False]]]
    """
    most = maps.amax((1, 2), keepdim=True)
    return (maps >= threshold * most) & (most > 0)
