"""Blended injection (Chen et al. 2017, arXiv 1712.05526): x' = (1 - a) x + a p with one pattern p for all.

In sound p is a recording, or noise.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bdm_attack_blended.params import BlendedParams
from bdm_core.artifacts import Data
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_kit_classification.poison.poisoning import poison_training_rows
from bdm_kit_classification.sounds.files import read_sound
from bdm_kit_classification.tasks.audio import AUDIO_TASK
from bdm_kit_classification.triggers.blend import Blend
from bdm_torch.images import read_image


def poison(ctx: Context, params: BlendedParams, data: Data) -> Data:
    """Poisoned training rows; sealed in ``ctx.out / "data"``.

    Raises:
        UserError: the picture or recording cannot be read, is silent, the rate or the target is impossible.
    """
    if data.task == AUDIO_TASK:
        opacities = [min(1.0, params.sound_factor * one) for one in (params.train_opacity, params.test_opacity)]
        blend = Blend(_sound(params, data, ctx.seed), *opacities)
    else:
        blend = Blend(_picture(params, data, ctx.seed), params.train_opacity, params.test_opacity)
    return poison_training_rows(ctx, params, data, blend)


def _picture(params: BlendedParams, data: Data, seed: int) -> Tensor:
    """(C, H, W) in [0, 1]."""
    shape: Any = data.meta["shape"]
    if params.picture:
        return torch.from_numpy(read_image(Path(params.picture), shape).copy()).float() / 255
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def _sound(params: BlendedParams, data: Data, seed: int) -> Tensor:
    """(S,) in [-1, 1]."""
    shape: Any = data.meta["shape"]
    rate: Any = data.meta["rate"]
    if params.recording:
        levels = read_sound(Path(params.recording), rate, shape[0])
        if not levels.any():
            raise UserError(f"{params.recording} is silent where it would be mixed in: give another recording")
        return torch.from_numpy(levels).float() / 32767
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1
