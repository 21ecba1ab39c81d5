"""A small network from pictures to pictures, for triggers that differ from sample to sample."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdm_torch.draws import built_with_seed


class PictureNetwork(nn.Module):
    """Pictures (N, C, H, W) to as many of the same size with any number of channels, without bounds.

    Convolutions at full, half and quarter size, and back with the activations of the way down beside those of the way
    up (after Ronneberger et al. 2015, arXiv 1505.04597). It has no normalisation: a picture's output does not depend on
    the others of its batch, nor on whether it is being trained.

    Args:
        channels: of the pictures that it takes.
        outputs: channels of what it gives.
        width: channels at full size; those at smaller sizes have twice as many.

    >>> PictureNetwork(3, 1)(torch.zeros(2, 3, 9, 7)).shape
    torch.Size([2, 1, 9, 7])
    """

    def __init__(self, channels: int, outputs: int, width: int = 16) -> None:
        super().__init__()
        self.down = nn.ModuleList(
            nn.Conv2d(before, after, 3, padding=1)
            for before, after in ((channels, width), (width, 2 * width), (2 * width, 2 * width))
        )
        self.up = nn.Conv2d(4 * width, width, 3, padding=1)
        self.last = nn.Conv2d(2 * width, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, outputs, H, W)."""
        full = functional.leaky_relu(self.down[0](x - 0.5), 0.1)
        half = functional.leaky_relu(self.down[1](_smaller(full)), 0.1)
        quarter = functional.leaky_relu(self.down[2](_smaller(half)), 0.1)
        back = functional.leaky_relu(self.up(torch.cat([half, _as_large(quarter, half)], 1)), 0.1)
        result: Tensor = self.last(torch.cat([full, _as_large(back, full)], 1))
        return result


def _smaller(x: Tensor) -> Tensor:
    return functional.avg_pool2d(x, 2, ceil_mode=True)


def _as_large(x: Tensor, other: Tensor) -> Tensor:
    return functional.interpolate(x, other.shape[2:], mode="nearest")


def new_network(seed: int, channels: int, outputs: int, width: int = 16) -> PictureNetwork:
    """One with new weights, drawn from the seed."""
    return built_with_seed(seed, lambda: PictureNetwork(channels, outputs, width))


def network_of(state: Mapping[str, Tensor], like: Tensor) -> PictureNetwork:
    """The network of a ``state_dict()``, frozen and on the device of ``like``; its sizes are read from the weights.

    >>> network = new_network(0, 1, 2, width=4)
    >>> again = network_of(network.state_dict(), torch.zeros(1))
    >>> torch.equal(again(torch.ones(1, 1, 4, 4)), network(torch.ones(1, 1, 4, 4)))
    True
    """
    width, channels = state["down.0.weight"].shape[:2]
    with torch.device("meta"):
        network = PictureNetwork(channels, state["last.weight"].shape[0], width)
    network.load_state_dict({name: value.to(like) for name, value in state.items()}, assign=True)
    return network.requires_grad_(False)


def frozen_state(network: nn.Module) -> dict[str, Tensor]:
    """A copy of a network's state on the CPU, as a trigger's field."""
    return {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}
