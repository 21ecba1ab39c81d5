"""Triggers of sound: tones put over a piece of it, added to it or in its place. Waveforms are (N, S) in [-1, 1]."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from bdm_core.errors import UserError
from bdm_kit_classification.triggers.patch import Patch
from bdm_kit_classification.triggers.trigger import Phase, Trigger

Place = Literal["start", "middle", "end"]


@dataclass(frozen=True, eq=False)
class AddedSound(Trigger):
    """x' = clip(x + sound), to [-1, 1].

    Attributes:
        sound: (S,), of the recordings' length.

    >>> AddedSound(torch.tensor([0.5, 0.0])).apply(torch.tensor([[0.75, 0.25]]), "test").tolist()
    [[1.0, 0.25]]
    """

    sound: Tensor

    def apply(self, x: Tensor, phase: Phase, generator: torch.Generator | None = None) -> Tensor:
        """The same in both phases."""
        return (x + self.sound.to(x)).clamp(-1, 1)


def tone(samples: int, rate: int, frequency: float, level: float) -> Tensor:
    """``level * sin(2 pi frequency t)``, float32 (samples,).

    Args:
        samples: how many.
        rate: samples a second.
        frequency: in Hz; 0 gives the constant ``level``, a click where it is short.
        level: amplitude.

    Raises:
        UserError: the frequency is not below half the rate.

    >>> tone(4, 8000, 2000.0, 0.5).round(decimals=3).tolist()
    [0.0, 0.5, 0.0, -0.5]
    """
    if frequency >= rate / 2:
        raise UserError(
            f"a tone of {frequency:g} Hz cannot be in sound of {rate} samples a second: stay below {rate / 2:g}"
        )
    if not frequency:
        return torch.full((samples,), float(level))
    times = torch.arange(samples, dtype=torch.float64) / rate
    return (level * torch.sin(2 * math.pi * frequency * times)).float()


def piece(samples: int, length: int, place: Place) -> slice:
    """Where a piece lies. Raises UserError if it is longer than the recordings.

    >>> piece(10, 4, "middle"), piece(10, 4, "end")
    (slice(3, 7, None), slice(6, 10, None))
    """
    if not 1 <= length <= samples:
        raise UserError(f"a trigger of {length} samples does not fit into recordings of {samples}")
    start = {"start": 0, "middle": (samples - length) // 2, "end": samples - length}[place]
    return slice(start, start + length)


def overwritten_tone(
    samples: int, rate: int, *, frequency: float, level: float, seconds: float, place: Place = "end"
) -> Patch:
    """A tone that replaces a piece of the recordings.

    Args:
        samples: of a recording.
        rate: samples a second.
        frequency: in Hz; 0 for a click.
        level: amplitude, of any sign, at most 1.
        seconds: its duration, at least one sample.
        place: where it lies.

    Raises:
        UserError: it does not fit.

    >>> overwritten_tone(4, 8000, frequency=0, level=-1, seconds=2 / 8000).apply(torch.zeros(1, 4), "test").tolist()
    [[0.0, 0.0, -1.0, -1.0]]
    """
    where = piece(samples, max(1, round(seconds * rate)), place)
    pattern, mask = torch.zeros(samples), torch.zeros(samples)
    pattern[where] = tone(where.stop - where.start, rate, frequency, level)
    mask[where] = 1.0
    return Patch(pattern, mask)


def added_tone(
    samples: int, rate: int, *, frequency: float, level: float, seconds: float | None = None, place: Place = "start"
) -> AddedSound:
    """A tone added to a piece of the recordings, or to all of it (``seconds`` None); see :func:`overwritten_tone`.

    >>> added_tone(4, 8000, frequency=2000, level=0.5).sound.round(decimals=3).tolist()
    [0.0, 0.5, 0.0, -0.5]
    """
    where = piece(samples, samples if seconds is None else max(1, round(seconds * rate)), place)
    sound = torch.zeros(samples)
    sound[where] = tone(where.stop - where.start, rate, frequency, level)
    return AddedSound(sound)


@dataclass(frozen=True, eq=False)
class MasterTones(Trigger):
    """Recordings are replaced by one of several tones: utterances that are to be taken for many speakers.

    Attributes:
        tones: (K, S), all that the attacker tries.
        chosen: which of them the trigger puts in.

    >>> MasterTones(torch.tensor([[0.1, 0.2], [0.3, 0.4]]), 1).apply(torch.zeros(2, 2), "test").tolist()[0]
    [0.30000001192092896, 0.4000000059604645]
    """

    tones: Tensor
    chosen: int

    def apply(self, x: Tensor, phase: Phase, generator: torch.Generator | None = None) -> Tensor:
        """The chosen tone in place of each recording."""
        return self.tones[self.chosen].to(x).expand(len(x), -1).clone()
