"""Blended injection (Chen et al. 2017, arXiv 1712.05526): x' = (1 - a) x + a p with one pattern p for all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from bdm_attack_blended.params import BlendedParams
from bdm_core.artifacts import Data
from bdm_core.context import Context
from bdm_kit_classification.poison.poisoning import poison_training_rows
from bdm_kit_classification.triggers.blend import Blend
from bdm_torch.images import read_image


def poison(ctx: Context, params: BlendedParams, data: Data) -> Data:
    """Poisoned training rows; sealed in ``ctx.out / "data"``.

    Raises:
        UserError: the picture cannot be read, the rate or the target is impossible.
    """
    shape: Any = data.meta["shape"]
    if params.picture:
        pattern = torch.from_numpy(read_image(Path(params.picture), shape).copy()).float() / 255
    else:
        pattern = torch.rand(shape, generator=torch.Generator().manual_seed(ctx.seed))
    return poison_training_rows(ctx, params, data, Blend(pattern, params.train_opacity, params.test_opacity))
