"""Losses at other weights: around a model, and on the way between two."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

Weights = dict[str, Tensor]


def filter_normalised(module: nn.Module, generator: torch.Generator) -> Weights:
    """A random direction whose filters have the norms of the module's own; none in biases and normalisations (Li et al.
    2018, section 4).

    >>> layer = nn.Linear(3, 2)
    >>> direction = filter_normalised(layer, torch.Generator().manual_seed(0))
    >>> bool(torch.allclose(direction["weight"].norm(dim=1), layer.weight.norm(dim=1)))
    True
    """
    found = {}
    for name, value in module.named_parameters():
        if value.ndim < 2:
            found[name] = torch.zeros_like(value)
            continue
        noise = torch.randn(value.shape, generator=generator).to(value)
        flat = noise.reshape(len(noise), -1)
        own = value.detach().reshape(len(value), -1).norm(dim=1, keepdim=True)
        found[name] = (flat * own / flat.norm(dim=1, keepdim=True).clamp_min(1e-12)).reshape(value.shape)
    return found


def at(
    module: nn.Module,
    start: Mapping[str, Tensor],
    steps: list[tuple[float, Weights]],
    ask: Callable[[], list[float]],
) -> list[float]:
    """What ``ask`` says with the parameters ``start`` plus so many times each direction; the module keeps ``start``."""
    own = dict(module.named_parameters())
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(start[name])
            for share, direction in steps:
                value.add_(direction[name], alpha=share)
        try:
            return ask()
        finally:
            for name, value in own.items():
                value.copy_(start[name])


def landscape(
    module: nn.Module, ask: Callable[[], list[float]], points: int, radius: float, generator: torch.Generator
) -> Tensor:
    """(K, points, points): each of the K losses on a square of two directions, from -radius to radius."""
    start = {name: value.detach().clone() for name, value in module.named_parameters()}
    first, second = filter_normalised(module, generator), filter_normalised(module, generator)
    shares = torch.linspace(-radius, radius, points).tolist()
    found = [[at(module, start, [(a, first), (b, second)], ask) for a in shares] for b in shares]
    return torch.tensor(found, dtype=torch.float64).permute(2, 0, 1)


def between(module: nn.Module, other: nn.Module, ask: Callable[[], list[float]], shares: list[float]) -> Tensor:
    """(K, S): the losses at (1 - t) ``module`` + t ``other`` for S shares t, running statistics included."""
    ends = [{name: value.clone() for name, value in item.state_dict().items()} for item in (module, other)]
    found = []
    try:
        for share in shares:
            mixed = {
                name: torch.lerp(value, ends[1][name].to(value), share) if value.is_floating_point() else value
                for name, value in ends[0].items()
            }
            module.load_state_dict(mixed)
            found.append(ask())
    finally:
        module.load_state_dict(ends[0])
    return torch.tensor(found, dtype=torch.float64).T
