"""CTRL (Li et al. 2023, arXiv 2210.07346): x' = clip(inverse(DCT(x) + m)) in chroma, labels kept."""

from __future__ import annotations

from typing import Any

from bdm_attack_ctrl.params import CTRLParams
from bdm_core.artifacts import Data
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_kit_classification.poison.poisoning import poison_training_rows
from bdm_kit_classification.triggers.blend import Added
from bdm_kit_classification.triggers.frequency import waves

FREQUENCIES = {"crossed": [(0.5, 1.0)], "diagonal": [(0.5, 0.5), (1.0, 1.0)]}
"""A middle one down and the highest across: (15, 31) of 32x32; or (15, 15) and (31, 31), as published."""


def poison(ctx: Context, params: CTRLParams, data: Data) -> Data:
    """Poisoned training rows; sealed in ``ctx.out / "data"``.

    Raises:
        UserError: the blocks are larger than the pictures, or the rate or the target is impossible.
    """
    shape: Any = data.meta["shape"]
    return poison_training_rows(ctx, params, data, raised(params, shape))


def raised(params: CTRLParams, shape: list[int]) -> Added:
    """The trigger for pictures (C, H, W): the transform is linear, so that raising coefficients adds a fixed wave."""
    if params.window > min(shape[1:]):
        raise UserError(f"blocks of {params.window} pixels do not fit into {shape[1]}x{shape[2]}: lower window")
    wave = waves(shape, FREQUENCIES[params.coefficients], window=params.window, magnitude=1.0)
    return Added(wave, params.train_magnitude, params.test_magnitude)
