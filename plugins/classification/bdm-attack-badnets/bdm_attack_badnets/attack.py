"""BadNets (Gu et al. 2017, arXiv 1708.06733): x' = (1 - m) x + m p with a patch p where the mask m is 1.

In texts rare words are put in, as Kurita et al. (2020, arXiv 2004.06660) do; in sound a short tone or click replaces a
piece of the waveform.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bdm_attack_badnets.params import BadNetsParams
from bdm_core.artifacts import Data
from bdm_core.context import Context
from bdm_kit_classification.poison.poisoning import poison_training_rows
from bdm_kit_classification.tasks.audio import AUDIO_TASK
from bdm_kit_classification.tasks.text import TEXT_TASK
from bdm_kit_classification.triggers.patch import Patch, from_picture, square
from bdm_kit_classification.triggers.sound import overwritten_tone
from bdm_kit_classification.triggers.trigger import Trigger
from bdm_kit_classification.triggers.words import InsertedWords


def poison(ctx: Context, params: BadNetsParams, data: Data) -> Data:
    """Poisoned training rows; sealed in ``ctx.out / "data"``.

    Raises:
        UserError: the patch or the tone does not fit, the picture cannot be read, the rate or the target is impossible.
    """
    return poison_training_rows(ctx, params, data, trigger_of(params, data))


def trigger_of(params: BadNetsParams, data: Data) -> Trigger:
    """The trigger for the samples of these data."""
    if data.task == TEXT_TASK:
        return InsertedWords(tuple(params.words), params.inserted, params.text_place)
    shape: Any = data.meta["shape"]
    if data.task == AUDIO_TASK:
        rate: Any = data.meta["rate"]
        options: Any = {"frequency": params.tone_frequency * rate, "seconds": params.tone_duration / 1000}
        return overwritten_tone(shape[0], rate, level=params.tone_level, place=params.tone_place, **options)
    return patch_of(params, shape)


def patch_of(params: BadNetsParams, shape: list[int]) -> Patch:
    """The patch for pictures (C, H, W)."""
    side = max(1, round(params.size * min(shape[1:]))) if params.size < 1 else round(params.size)
    if params.picture:
        return from_picture(Path(params.picture), shape, size=side, corner=params.place, margin=params.margin)
    return square(shape, size=side, corner=params.place, margin=params.margin, value=params.value)
