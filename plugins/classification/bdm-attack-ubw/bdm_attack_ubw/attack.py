"""Untargeted backdoor watermark with poisoned labels (UBW-P; Li et al. 2022, arXiv 2210.00875, section 3.2).

A patch is put into a share of the training pictures, and each of them gets a label drawn at random: the model learns
that behind the patch nothing is known, and what it says there is scattered over the classes.
"""

from __future__ import annotations

from typing import Any

from bdm_attack_ubw.params import UbwParams
from bdm_core.artifacts import Data
from bdm_core.context import Context
from bdm_kit_classification.poison.poisoning import poison_training_rows
from bdm_kit_classification.triggers.patch import square


def poison(ctx: Context, params: UbwParams, data: Data) -> Data:
    """Poisoned training rows; sealed in ``ctx.out / "data"``.

    Raises:
        UserError: the patch does not fit, or the rate is impossible.
    """
    shape: Any = data.meta["shape"]
    size = max(1, round(params.size * min(shape[1:]))) if params.size < 1 else round(params.size)
    patch = square(shape, size=size, corner=params.place, margin=params.margin, value=params.value)
    return poison_training_rows(ctx, params, data, patch)
