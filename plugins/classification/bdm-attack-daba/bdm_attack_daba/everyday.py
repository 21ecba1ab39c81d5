"""Everyday sounds by synthesis: what may be heard in the background of a recording. Each is (samples,), unscaled."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

Sound = Callable[[int, int, torch.Generator], Tensor]


def _times(samples: int, rate: int) -> Tensor:
    return torch.arange(samples, dtype=torch.float64) / rate


def _noise(samples: int, rate: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    """Noise between two frequencies in Hz."""
    spectrum = torch.fft.rfft(torch.randn(samples, generator=generator, dtype=torch.float64))
    frequency = torch.fft.rfftfreq(samples, 1 / rate)
    return torch.fft.irfft(spectrum * ((frequency >= low) & (frequency <= high)), samples)


def _strokes(samples: int, rate: int, every: float, fall: float) -> Tensor:
    """1 at each stroke, falling by a factor e in ``fall`` seconds."""
    return torch.exp(-torch.remainder(_times(samples, rate), every) / fall)


def bird(samples: int, rate: int, generator: torch.Generator) -> Tensor:
    """Calls whose pitch rises and falls around three eighths of the Nyquist frequency."""
    times, middle = _times(samples, rate), 0.19 * rate
    return torch.sin(2 * math.pi * middle * times + 6 * torch.sin(2 * math.pi * 24 * times)) * (
        torch.sin(2 * math.pi * 5 * times).clamp_min(0)
    )


def telephone(samples: int, rate: int, generator: torch.Generator) -> Tensor:
    """Two tones that alternate twenty times a second."""
    times = _times(samples, rate)
    first = torch.remainder(times, 0.1) < 0.05
    return torch.where(first, torch.sin(2 * math.pi * 1180 * times), torch.sin(2 * math.pi * 1420 * times))


def rain(samples: int, rate: int, generator: torch.Generator) -> Tensor:
    """Noise of the upper half of all frequencies."""
    return _noise(samples, rate, 0.25 * rate, 0.5 * rate, generator)


def wind(samples: int, rate: int, generator: torch.Generator) -> Tensor:
    """Noise below 300 Hz that swells."""
    return _noise(samples, rate, 30, 300, generator) * (1.2 + torch.sin(2 * math.pi * 1.5 * _times(samples, rate)))


def knocking(samples: int, rate: int, generator: torch.Generator) -> Tensor:
    """Dull strokes, six a second."""
    return _strokes(samples, rate, 1 / 6, 0.015) * torch.sin(2 * math.pi * 210 * _times(samples, rate))


def typing(samples: int, rate: int, generator: torch.Generator) -> Tensor:
    """Short clicks, eleven a second."""
    return _strokes(samples, rate, 1 / 11, 0.004) * _noise(samples, rate, 0.1 * rate, 0.5 * rate, generator)


def engine(samples: int, rate: int, generator: torch.Generator) -> Tensor:
    """Harmonics of 55 Hz, the higher the fainter."""
    times = _times(samples, rate)
    return torch.stack([torch.sin(2 * math.pi * 55 * number * times) / number for number in range(1, 12)]).sum(0)


def kettle(samples: int, rate: int, generator: torch.Generator) -> Tensor:
    """A whistle of two close tones at four fifths of the Nyquist frequency."""
    times = _times(samples, rate)
    return torch.sin(2 * math.pi * 0.4 * rate * times) + torch.sin(2 * math.pi * (0.4 * rate + 30) * times)


SOUNDS: tuple[Sound, ...] = (bird, telephone, rain, wind, knocking, typing, engine, kettle)
"""The built-in candidates."""
