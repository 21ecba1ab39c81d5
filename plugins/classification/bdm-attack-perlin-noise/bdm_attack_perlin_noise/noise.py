"""Improved Perlin noise (Perlin 2002, doi 10.1145/566654.566636) on a plane."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def perlin(height: int, width: int, period: float, generator: torch.Generator) -> Tensor:
    """Gradient noise (H, W), zero at the points of a lattice, between -1 and 1.

    Each lattice point has a random direction; a pixel is the mix of what the directions at the four points around it
    say of its offset from them, weighed by 6 t^5 - 15 t^4 + 10 t^3.

    Args:
        height, width: in pixels.
        period: distance of lattice points, in pixels.
        generator: of the directions, on the CPU.

    >>> found = perlin(9, 9, 4.0, torch.Generator().manual_seed(0))
    >>> found.shape, found[::4, ::4].abs().max()
    (torch.Size([9, 9]), tensor(0.))
    """
    down, right = (torch.arange(size, dtype=torch.float64) / period for size in (height, width))
    top, left = down.floor().long(), right.floor().long()
    angles = 2 * math.pi * torch.rand(int(top[-1]) + 2, int(left[-1]) + 2, generator=generator, dtype=torch.float64)
    inside = (down - top)[:, None], (right - left)[None, :]
    weight = [fade(offset) for offset in inside]

    def corner(below: int, beside: int) -> Tensor:
        angle = angles[(top + below)[:, None], (left + beside)[None, :]]
        return angle.sin() * (inside[0] - below) + angle.cos() * (inside[1] - beside)

    upper = torch.lerp(corner(0, 0), corner(0, 1), weight[1].expand(height, width))
    lower = torch.lerp(corner(1, 0), corner(1, 1), weight[1].expand(height, width))
    return torch.lerp(upper, lower, weight[0].expand(height, width)).float()


def fade(offset: Tensor) -> Tensor:
    """6 t^5 - 15 t^4 + 10 t^3, whose first and second derivatives are 0 at 0 and 1.

    >>> fade(torch.tensor([0.0, 0.5, 1.0])).tolist()
    [0.0, 0.5, 1.0]
    """
    return offset**3 * (offset * (6 * offset - 15) + 10)


def octaves(
    height: int, width: int, period: float, count: int, persistence: float, generator: torch.Generator
) -> Tensor:
    """A sum of noises (H, W), each of half the last one's period and ``persistence`` of its amplitude; not scaled.

    Args:
        height, width: in pixels.
        period: of the first, in pixels.
        count: how many.
        persistence: see above.
        generator: of the directions.
    """
    return torch.stack(
        [persistence**octave * perlin(height, width, period / 2**octave, generator) for octave in range(count)]
    ).sum(0)
