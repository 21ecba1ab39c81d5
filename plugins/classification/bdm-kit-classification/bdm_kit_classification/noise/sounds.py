"""Data noise of sound: white and pink noise at a signal-to-noise ratio, and gain."""

from __future__ import annotations

import torch
from torch import Tensor

from bdm_kit_classification.noise.kind import Noise


def white(raw: Tensor, level: float, seeds: list[int]) -> Tensor:
    """Noise of an even spectrum, ``level`` dB below each recording, clipped to [-1, 1].

    The ratio is that of the recording's power to the noise's own, exact before clipping; a silent one stays silent.

    >>> sound = 0.1 * torch.sin(torch.arange(800.0))[None]
    >>> change = white(sound, 20.0, [7]) - sound
    >>> round(float(10 * torch.log10(sound.square().mean() / change.square().mean())), 3)
    20.0
    """
    return _at_ratio(raw, level, [_drawn(raw, seed) for seed in seeds])


def pink(raw: Tensor, level: float, seeds: list[int]) -> Tensor:
    """As :func:`white`, the power falling with one over the frequency, without a constant part."""
    length = raw.shape[1]
    fall = torch.arange(length // 2 + 1, dtype=torch.float64).clamp_min(1).rsqrt()
    fall[0] = 0.0
    noises = [torch.fft.irfft(torch.fft.rfft(_drawn(raw, seed).double()) * fall, n=length) for seed in seeds]
    return _at_ratio(raw, level, noises)


def gain(raw: Tensor, level: float, seeds: list[int]) -> Tensor:
    """Each recording ``level`` dB louder or softer, one as likely as the other, clipped to [-1, 1]."""
    signs = [1 - 2 * int(torch.randint(2, (1,), generator=torch.Generator().manual_seed(seed))) for seed in seeds]
    factors = 10 ** (level * torch.tensor(signs, dtype=torch.float64) / 20)
    return (raw * factors[:, None].to(raw)).clamp(-1, 1)


def _drawn(raw: Tensor, seed: int) -> Tensor:
    return torch.randn(raw.shape[1], generator=torch.Generator().manual_seed(seed))


def _at_ratio(raw: Tensor, level: float, noises: list[Tensor]) -> Tensor:
    if not noises:
        return raw
    noise = torch.stack(noises).to(raw)
    powers = [x.double().square().mean(1, keepdim=True) for x in (raw, noise)]
    scale = (powers[0] / powers[1].clamp_min(1e-30) / 10 ** (level / 10)).sqrt()
    return (raw + scale.to(raw) * noise).clamp(-1, 1)


NOISES: dict[str, Noise] = {
    "white": Noise(10.0, -60.0, 90.0, "the signal-to-noise ratio in dB: less is stronger", white),
    "pink": Noise(10.0, -60.0, 90.0, "the signal-to-noise ratio in dB: less is stronger", pink),
    "gain": Noise(12.0, 0.0, 60.0, "how much louder or softer in dB", gain),
}
"""Of sound."""
