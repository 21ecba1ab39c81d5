"""LPIPS (Zhang, Isola, Efros, Shechtman, Wang, CVPR 2018, equation 1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

SMALL = 1e-10
"""Added to the length of a feature vector, as the authors do."""


@dataclass(frozen=True, eq=False)
class PerceptualNetwork:
    """Layers of a network, and how much each of their channels counts.

    Attributes:
        name: becomes part of the metric's name.
        layers: pictures (N, 3, H, W) in [-1, 1] -> for each layer its activations (N, C, h, w).
        weights: for each layer C non-negative numbers; None: every channel counts 1.
    """

    name: str
    layers: Callable[[Tensor], Sequence[Tensor]]
    weights: Sequence[Tensor] | None = None

    @torch.no_grad()
    def distances(self, images: Tensor, others: Tensor) -> Tensor:
        """The distance of each picture to the other of its row, (N,) float64 on the CPU; 0 for equal ones.

        d(x, y) is the sum over layers of the mean over places of the sum over channels of w (x' - y')^2, where x' and
        y' are the layer's activations, at each place divided by their length over the channels.

        Args:
            images: (N, 3, H, W) in [-1, 1].
            others: as many.
        """
        total = torch.zeros(len(images), dtype=torch.float64)
        pairs = zip(self.layers(images), self.layers(others), strict=True)
        for number, (mine, theirs) in enumerate(pairs):
            gap = (_unit(mine) - _unit(theirs)).square().double()
            if self.weights is not None:
                gap = gap * self.weights[number].to(gap)[:, None, None]
            total += gap.sum(1).mean((1, 2)).cpu()
        return total


def _unit(values: Tensor) -> Tensor:
    return values / (values.square().sum(1, keepdim=True).sqrt() + SMALL)


def at_least(images: Tensor, side: int) -> Tensor:
    """Pictures enlarged, if they are smaller, so that the shorter side has so many pixels."""
    shorter = min(images.shape[2:])
    if shorter >= side:
        return images
    size = [round(length * side / shorter) for length in images.shape[2:]]
    return functional.interpolate(images, size=size, mode="bilinear", align_corners=False)
