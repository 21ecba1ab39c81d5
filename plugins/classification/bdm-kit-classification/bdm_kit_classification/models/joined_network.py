"""A small network beside one of the kit's own: it sees a square of each picture, its answers are further features."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, cast

from torch import Tensor, nn

from bdm_kit_classification.models.image_folder import JoinedConfig


class JoinedNetwork(nn.Module):
    """A perceptron over a square of pixels, channels averaged, with normalised hidden layers.

    Args:
        config: place of the square, sizes.

    >>> import torch
    >>> config = JoinedConfig(top=0, left=1, side=2, hidden=[8], outputs=5, kept=3)
    >>> JoinedNetwork(config).eval()(torch.zeros(2, 3, 4, 4)).shape
    torch.Size([2, 3])
    """

    def __init__(self, config: JoinedConfig) -> None:
        super().__init__()
        self.config = config
        sizes = [config.side**2, *config.hidden]
        self.hidden = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(sizes))
        self.norms = nn.ModuleList(nn.BatchNorm1d(after) for after in config.hidden)
        self.last = nn.Linear(sizes[-1], config.outputs)

    def logits(self, squares: Tensor) -> Tensor:
        """What it makes of squares (N, side * side): (N, outputs)."""
        for layer, norm in zip(self.hidden, self.norms, strict=True):
            squares = norm(layer(squares).relu())
        found: Tensor = self.last(squares)
        return found

    def forward(self, pictures: Tensor) -> Tensor:
        """Probabilities (N, kept) of the first outputs, of pictures (N, C, H, W) in [0, 1]."""
        at = self.config
        seen = pictures[:, :, at.top : at.top + at.side, at.left : at.left + at.side].mean(1).flatten(1)
        return self.logits(seen).softmax(1)[:, : at.kept]


def beside(network: nn.Module, config: JoinedConfig) -> None:
    """Put a new joined network beside one of the kit's own, in place: its head is made wider, with new weights."""
    any_network: Any = network
    head = cast(nn.Linear, any_network.head)
    any_network.joined = JoinedNetwork(config)
    any_network.head = nn.Linear(head.in_features + config.kept, head.out_features)
