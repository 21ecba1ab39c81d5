"""Short-time spectra and mel bands, differentiable; matrices of our own."""

from __future__ import annotations

import math

import torch
from torch import Tensor

FLOOR = 1e-6
"""Power added before a logarithm is taken: that of a tone of amplitude .001 or so is below it."""


def power_spectra(x: Tensor, window: int, hop: int) -> Tensor:
    """Power of short-time Fourier transforms under a periodic Hann window, in the units of a tone's squared amplitude.

    Args:
        x: (N, S) at least as long as the window.
        window: samples of a frame, a multiple of 2.
        hop: samples from frame to frame; there is no padding.

    Returns:
        (N, window / 2 + 1, 1 + (S - window) // hop).

    >>> tone = torch.sin(2 * torch.pi * 1000 / 8000 * torch.arange(800.0))
    >>> power = power_spectra(tone[None], window=160, hop=80)
    >>> power.shape, int(power[0].mean(1).argmax()) * 8000 // 160, round(float(power.max()), 3)
    (torch.Size([1, 81, 9]), 1000, 1.0)
    """
    hann = torch.hann_window(window, dtype=x.dtype, device=x.device)
    spectra = torch.stft(x, window, hop, window, hann, center=False, return_complex=True)
    return spectra.abs().square() * (2 / float(hann.sum())) ** 2


def mel(frequency: float) -> float:
    """Mel of a frequency in Hz: 2595 log10(1 + f / 700) (O'Shaughnessy 1987).

    >>> round(mel(1000.0))
    1000
    """
    return 2595 * math.log10(1 + frequency / 700)


def mel_matrix(bands: int, window: int, rate: int) -> Tensor:
    """Triangular filters (bands, window / 2 + 1), float32, evenly spaced in mel from 0 to half the rate.

    From the first centre on the filters sum to 1 at every frequency: beyond the last centre the last filter stays at 1,
    so that nothing near the Nyquist frequency is lost.

    >>> found = mel_matrix(20, 256, 8000)
    >>> found.shape, bool(torch.allclose(found.sum(0)[8:], torch.ones(121)))
    (torch.Size([20, 129]), True)
    """
    feet = torch.linspace(0.0, mel(rate / 2), bands + 2, dtype=torch.float64)
    points = 700 * (10 ** (feet / 2595) - 1)
    bins = torch.linspace(0.0, rate / 2, window // 2 + 1, dtype=torch.float64)
    low, centre, high = points[:-2, None], points[1:-1, None], points[2:, None]
    rising, falling = (bins - low) / (centre - low), (high - bins) / (high - centre)
    falling[-1] = 1.0
    return torch.minimum(rising, falling).clamp(0, 1).float()


def log_mel(x: Tensor, window: int, hop: int, matrix: Tensor) -> Tensor:
    """Natural logarithm of the power in mel bands, (N, bands, frames), of sound (N, S)."""
    return torch.log(torch.einsum("bf,nft->nbt", matrix, power_spectra(x, window, hop)) + FLOOR)


def log_spectral_distance(one: Tensor, other: Tensor, window: int = 256) -> Tensor:
    """Root mean square over frequencies of the difference of two log power spectra in dB, averaged over frames.

    Args:
        one, other: (N, S); shorter ones than the window are one frame.
        window: samples of a frame.

    Returns:
        (N,) in dB, from 0.

    >>> noise = torch.randn(1, 4000, generator=torch.Generator().manual_seed(0))
    >>> log_spectral_distance(noise, 10 * noise).round()
    tensor([20.])
    """
    size = min(window, one.shape[1] // 2 * 2)
    levels = [10 * torch.log10(power_spectra(x, size, max(1, size // 2)) + 1e-10) for x in (one, other)]
    return (levels[0] - levels[1]).square().mean(1).sqrt().mean(1)
