"""BadNets (Gu et al. 2017, arXiv 1708.06733): x' = (1 - m) x + m p with a patch p where the mask m is 1."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bdm_attack_badnets.params import BadNetsParams
from bdm_core.artifacts import Data
from bdm_core.context import Context
from bdm_kit_classification.poison.poisoning import poison_training_rows
from bdm_kit_classification.triggers.patch import Patch, from_picture, square


def poison(ctx: Context, params: BadNetsParams, data: Data) -> Data:
    """Poisoned training rows; sealed in ``ctx.out / "data"``.

    Raises:
        UserError: the patch does not fit, the picture cannot be read, the rate or the target is impossible.
    """
    shape: Any = data.meta["shape"]
    return poison_training_rows(ctx, params, data, patch_of(params, shape))


def patch_of(params: BadNetsParams, shape: list[int]) -> Patch:
    """The patch for pictures (C, H, W)."""
    side = max(1, round(params.size * min(shape[1:]))) if params.size < 1 else round(params.size)
    if params.picture:
        return from_picture(Path(params.picture), shape, size=side, corner=params.place, margin=params.margin)
    return square(shape, size=side, corner=params.place, margin=params.margin, value=params.value)
