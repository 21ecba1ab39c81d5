"""Ultrasonic triggers (Koffas et al. 2022, arXiv 2107.14569): x' = clip(x + a sin(2 pi f t)), f just below Nyquist."""

from __future__ import annotations

from typing import Any

import torch

from bdm_attack_ultrasonic.params import UltrasonicParams
from bdm_core.artifacts import Data
from bdm_core.context import Context
from bdm_kit_classification.poison.poisoning import poison_training_rows
from bdm_kit_classification.triggers.sound import AddedSound, piece, tone


def poison(ctx: Context, params: UltrasonicParams, data: Data) -> Data:
    """Poisoned training rows; sealed in ``ctx.out / "data"``.

    Raises:
        UserError: the tone has more pieces than samples; the rate or the target is impossible.
    """
    shape: Any = data.meta["shape"]
    rate: Any = data.meta["rate"]
    return poison_training_rows(ctx, params, data, trigger_of(params, shape[0], rate))


def trigger_of(params: UltrasonicParams, samples: int, rate: int) -> AddedSound:
    """The tone for recordings of so many samples.

    Args:
        params: frequency, level, duration, position, pieces.
        samples: of a recording.
        rate: samples a second.

    Raises:
        UserError: a piece is shorter than a sample.
    """
    whole = tone(samples, rate, params.frequency * rate / 2, 10 ** (params.level / 20))
    mask = torch.zeros(samples)
    length = round(params.duration * samples / params.pieces)
    if params.pieces == 1:
        mask[piece(samples, length, params.position)] = 1
        return AddedSound(whole * mask)
    stretch = samples / params.pieces
    for number in range(params.pieces):
        start = round(number * stretch)
        room = piece(round(stretch), length, "middle")
        mask[start + room.start : start + room.stop] = 1
    return AddedSound(whole * mask)
