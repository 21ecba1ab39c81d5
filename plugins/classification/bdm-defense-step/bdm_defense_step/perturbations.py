"""The two branches: perturbations that leave nothing of what a recording says, and others that leave all of it.

A perturbation changes waveforms (N, S) in [-1, 1], each by itself and all in the same way.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from bdm_defense_step.params import StepParams
from bdm_kit_classification.noise.sounds import white

Perturbation = Callable[[Tensor], Tensor]
CUTS = ((0.0, 0.75), (0.03, 1.0))
"""Bands that speech is understood in, as shares of half the rate: without the highest, and without the lowest tones."""


def semantic_breaking(params: StepParams) -> list[Perturbation]:
    """Pieces in another order, time reversed, and drowned in noise."""
    orders = itertools.product(params.pieces, range(params.orders))
    return [
        *(partial(reordered, pieces=pieces, seed=seed) for pieces, seed in orders),
        partial(torch.flip, dims=(1,)),
        *(partial(noisy, ratio=ratio) for ratio in params.breaking_noise),
    ]


def semantic_preserving(params: StepParams) -> list[Perturbation]:
    """A little noise, louder and softer, earlier and later, faster and slower, and without the outermost tones."""
    return [
        *(partial(noisy, ratio=ratio) for ratio in params.preserving_noise),
        *(partial(amplified, decibels=sign * params.gain) for sign in (1, -1)),
        *(partial(displaced, share=sign * params.shift) for sign in (1, -1)),
        *(partial(paced, speed=1 + sign * params.speed) for sign in (1, -1)),
        *(partial(band, low=low, high=high) for low, high in CUTS),
    ]


def reordered(x: Tensor, pieces: int, seed: int) -> Tensor:
    """Cut into pieces of nearly one length, which are put in an order drawn with a seed, not the one they had.

    >>> reordered(torch.arange(6.0)[None], pieces=2, seed=0).tolist()
    [[3.0, 4.0, 5.0, 0.0, 1.0, 2.0]]
    """
    parts = torch.tensor_split(x, pieces, dim=1)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(pieces, generator=generator).tolist()
    while order == sorted(order):
        order = torch.randperm(pieces, generator=generator).tolist()
    return torch.cat([parts[place] for place in order], 1)


def noisy(x: Tensor, ratio: float) -> Tensor:
    """White noise at a signal-to-noise ratio in dB, the same for all but for its loudness."""
    return white(x, ratio, [0] * len(x))


def amplified(x: Tensor, decibels: float) -> Tensor:
    """Louder by so many dB, clipped.

    >>> amplified(torch.tensor([[0.05, -0.5]]), 20.0).round(decimals=3).tolist()
    [[0.5, -1.0]]
    """
    return (x * 10 ** (decibels / 20)).clamp(-1, 1)


def displaced(x: Tensor, share: float) -> Tensor:
    """Later by a share of the length, or earlier if it is negative, and silence in the gap.

    >>> displaced(torch.tensor([[1.0, 0.5, 0.2, 0.1]]), 0.25).tolist()
    [[0.0, 1.0, 0.5, 0.20000000298023224]]
    """
    samples = x.shape[1]
    offset = round(share * samples)
    gap = torch.zeros_like(x[:, : abs(offset)])
    return torch.cat([gap, x[:, : samples - offset]] if offset >= 0 else [x[:, -offset:], gap], 1)


def paced(x: Tensor, speed: float) -> Tensor:
    """So many times as fast, and as high, around the middle; interpolated linearly, silence at both ends.

    >>> paced(torch.tensor([[0.0, 1.0, 2.0, 3.0, 4.0]]) / 4, 0.5).mul(4).tolist(), paced(torch.ones(1, 5), 2.0).tolist()
    ([[1.0, 1.5, 2.0, 2.5, 3.0]], [[0.0, 1.0, 1.0, 1.0, 0.0]])
    """
    samples = x.shape[1]
    middle = (samples - 1) / 2
    places = middle + speed * (torch.arange(samples, dtype=torch.float64) - middle)
    first = places.floor().clamp(0, samples - 2).long() if samples > 1 else places.long()
    share = (places - first).to(x)
    inside = ((places >= 0) & (places <= samples - 1)).to(x)
    return inside * ((1 - share) * x[:, first] + share * x[:, (first + 1).clamp(max=samples - 1)])


def band(x: Tensor, low: float, high: float) -> Tensor:
    """Without the frequencies outside of a band, given as shares of half the rate.

    >>> tones = torch.cos(torch.pi * torch.arange(8.0) / 4) + torch.cos(torch.pi * torch.arange(8.0))
    >>> torch.allclose(band(tones[None] / 2, 0.0, 0.5), torch.cos(torch.pi * torch.arange(8.0) / 4) / 2, atol=1e-6)
    True
    """
    samples = x.shape[1]
    frequencies = torch.linspace(0, 1, samples // 2 + 1)
    kept = ((frequencies >= low) & (frequencies <= high)).to(x)
    return torch.fft.irfft(torch.fft.rfft(x, dim=1) * kept, n=samples, dim=1).clamp(-1, 1)
