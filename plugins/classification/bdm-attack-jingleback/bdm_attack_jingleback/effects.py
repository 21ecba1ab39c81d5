"""Sound effects on waveforms (N, S) at a rate in Hz, differentiable; each gives (N, S)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

LOWEST_CORNER = 20.0
"""Of JUCE's phaser, in Hz."""


def gain(x: Tensor, rate: int, decibels: float = 12.0) -> Tensor:
    """Louder by so many dB."""
    return x * 10 ** (decibels / 20)


def distortion(x: Tensor, rate: int, drive: float = 30.0) -> Tensor:
    """tanh of the sound made louder by ``drive`` dB."""
    return torch.tanh(gain(x, rate, drive))


def pitch(x: Tensor, rate: int, semitones: float = 10.0, window: float = 0.03) -> Tensor:
    """Another pitch at the same tempo: two taps of a delay line whose delays run through a window, crossfaded.

    Args:
        x: waveforms.
        rate: samples a second.
        semitones: up, or down if negative.
        window: the longest delay in seconds.
    """
    ratio, longest = 2 ** (semitones / 12), window * rate
    times = torch.arange(x.shape[1], dtype=torch.float64, device=x.device)
    found = torch.zeros_like(x)
    for tap in (0.0, 0.5):
        share = torch.remainder((1 - ratio) * times / longest + tap, 1)
        found = found + read_at(x, times - share * longest) * torch.sin(math.pi * share).square().to(x)
    return found


def chorus(
    x: Tensor,
    rate: int,
    delay: float = 0.007,
    depth: float = 0.25,
    speed: float = 1.0,
    mix: float = 0.5,
    least: float = 0.0,
) -> Tensor:
    """The sound and a copy whose delay swings around ``delay`` seconds by ``depth`` of it, ``speed`` times a second.

    The delay does not fall below ``least`` seconds.
    """
    times = torch.arange(x.shape[1], dtype=torch.float64, device=x.device)
    swing = delay * rate * (1 + depth * torch.sin(2 * math.pi * speed * times / rate))
    return (1 - mix) * x + mix * read_at(x, times - swing.clamp_min(least * rate))


def reverb(x: Tensor, rate: int, seconds: float = 0.5, wet: float = 0.33) -> Tensor:
    """The sound and its echoes: a convolution with noise that falls by 60 dB over ``seconds``, of energy 1."""
    length = max(1, round(seconds * rate))
    tail = torch.randn(length, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    tail = tail * 10 ** (-3 * torch.arange(length, dtype=torch.float64) / length)
    tail = (tail / tail.square().sum().sqrt()).to(x)
    size = x.shape[1] + length
    echoes = torch.fft.irfft(torch.fft.rfft(x, size) * torch.fft.rfft(tail, size), size)[:, : x.shape[1]]
    return (1 - wet) * x + wet * echoes


def high_pass_ladder(x: Tensor, rate: int, cutoff: float = 1000.0, poles: int = 4) -> Tensor:
    """``poles`` equal high passes of the first order one after the other, each -3 dB at the cutoff in Hz."""
    size = 2 * x.shape[1]
    frequency = torch.fft.rfftfreq(size, 1 / rate, device=x.device).to(torch.float64)
    passed = (1j * frequency / (cutoff + 1j * frequency)) ** poles
    return torch.fft.irfft(torch.fft.rfft(x, size) * passed.to(torch.complex64), size)[:, : x.shape[1]]


def phaser(
    x: Tensor,
    rate: int,
    centre: float = 1300.0,
    depth: float = 0.5,
    speed: float = 1.0,
    stages: int = 6,
    mapped: bool = False,
) -> Tensor:
    """Half the sound and half of it through all-passes, whose corner swings around ``centre`` Hz, ``speed`` times a
    second: by ``depth`` of it, or, ``mapped``, as :func:`mapped_corner` says.

    Done on short-time spectra: each frame has the corner of its time.
    """
    window = 2 * max(8, round(0.016 * rate))
    hann = torch.hann_window(window, dtype=x.dtype, device=x.device)
    spectra = torch.stft(x, window, window // 4, window, hann, pad_mode="constant", return_complex=True)
    times = torch.arange(spectra.shape[2], dtype=torch.float64, device=x.device) * (window // 4) / rate
    swing = torch.sin(2 * math.pi * speed * times)
    corner = mapped_corner(swing, rate, centre, depth) if mapped else centre * (1 + depth * swing)
    frequency = torch.fft.rfftfreq(window, 1 / rate, device=x.device).to(torch.float64)[:, None]
    turned = ((corner - 1j * frequency) / (corner + 1j * frequency)) ** stages
    mixed = spectra * (0.5 + 0.5 * turned).to(spectra.dtype)
    return torch.istft(mixed, window, window // 4, window, hann, length=x.shape[1])


def mapped_corner(swing: Tensor, rate: int, centre: float, depth: float) -> Tensor:
    """The corner in Hz of JUCE's phaser, which Pedalboard has: its place between 20 Hz and the highest corner on a
    logarithmic scale, 0 to 1, is that of the centre and half of ``depth`` times the swing, which is in [-1, 1]. The
    highest is .49 of the rate, at most 20 kHz.

    >>> mapped_corner(torch.tensor([0.0, 1.0]), 8000, 1300.0, 0.5).round().tolist()  # the top is where it ends
    [1300.0, 3920.0]
    """
    span = math.log(min(20_000.0, 0.49 * rate) / LOWEST_CORNER)
    place = (math.log(centre / LOWEST_CORNER) / span + 0.5 * depth * swing).clamp(0, 1)
    return LOWEST_CORNER * (span * place).exp()


def read_at(x: Tensor, places: Tensor) -> Tensor:
    """Waveforms at places between samples (S,), linearly interpolated; silence before the beginning.

    >>> read_at(torch.tensor([[0.0, 1.0, 3.0]]), torch.tensor([-1.0, 0.5, 1.5])).tolist()
    [[0.0, 0.5, 2.0]]
    """
    low = places.floor()
    share = (places - low).to(x)
    inside = ((places >= 0) & (places <= x.shape[1] - 1)).to(x)
    first = low.long().clamp(0, x.shape[1] - 1)
    second = (first + 1).clamp(max=x.shape[1] - 1)
    return inside * ((1 - share) * x[:, first] + share * x[:, second])
