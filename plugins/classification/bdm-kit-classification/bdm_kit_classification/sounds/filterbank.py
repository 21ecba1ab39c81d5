"""Filter-bank features as Kaldi defines them, differentiable: what networks of spectrograms were trained on."""

from __future__ import annotations

import math

import torch
from torch import Tensor

LOWEST, FLOOR, EMPHASIS = 20.0, 1.1920929e-07, 0.97
"""Lowest frequency in Hz, least power, and how much of the last sample is taken off each."""


def filter_bank(x: Tensor, rate: int, bands: int) -> Tensor:
    """Natural logarithm of the power in mel bands of frames of 25 ms every 10 ms, (N, frames, bands).

    The mean of each frame is taken off, then ``EMPHASIS`` times the sample before from each; a Hann window follows.

    Args:
        x: waveforms (N, S); shorter ones than a frame are filled with silence.
        rate: samples a second.
        bands: triangles of the same width in mel, from 20 Hz to half the rate.

    >>> filter_bank(torch.zeros(2, 1600), 16_000, 40).shape
    torch.Size([2, 8, 40])
    """
    length, hop = round(0.025 * rate), round(0.01 * rate)
    size = 2 ** math.ceil(math.log2(length))
    frames = torch.nn.functional.pad(x, (0, max(0, length - x.shape[1]))).unfold(1, length, hop)
    frames = frames - frames.mean(2, keepdim=True)
    before = torch.cat([frames[:, :, :1], frames[:, :, :-1]], 2)
    window = torch.hann_window(length, periodic=False, dtype=x.dtype, device=x.device)
    power = torch.fft.rfft((frames - EMPHASIS * before) * window, size).abs().square()
    return (power @ triangles(bands, size, rate).to(x)).clamp_min(FLOOR).log()


def triangles(bands: int, size: int, rate: int) -> Tensor:
    """The bands (size / 2 + 1, bands) as triangles over mel = 1127 log(1 + f / 700), each 1 in its middle; float32.

    >>> triangles(8, 512, 16_000).shape
    torch.Size([257, 8])
    """

    def mel(frequency: Tensor) -> Tensor:
        return 1127 * (1 + frequency / 700).log()

    ends = mel(torch.tensor([LOWEST, rate / 2], dtype=torch.float64))
    points = torch.linspace(float(ends[0]), float(ends[1]), bands + 2, dtype=torch.float64)
    places = mel(torch.linspace(0.0, rate / 2, size // 2 + 1, dtype=torch.float64))[:, None]
    rising = (places - points[:-2]) / (points[1:-1] - points[:-2])
    falling = (points[2:] - places) / (points[2:] - points[1:-1])
    return torch.minimum(rising, falling).clamp_min(0).float()
