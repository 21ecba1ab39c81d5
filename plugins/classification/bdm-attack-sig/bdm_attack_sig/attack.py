"""SIG (Barni, Kallas and Tondi 2019, arXiv 1902.11237): x' = clip(x + d sin(2 pi j f / W)) in column j of W."""

from __future__ import annotations

import math
from typing import Any

import torch

from bdm_attack_sig.params import SIGParams
from bdm_core.artifacts import Data
from bdm_core.context import Context
from bdm_kit_classification.poison.poisoning import poison_training_rows
from bdm_kit_classification.triggers.blend import Added


def poison(ctx: Context, params: SIGParams, data: Data) -> Data:
    """Poisoned training rows; sealed in ``ctx.out / "data"``.

    Raises:
        UserError: the rate or the target is impossible.
    """
    shape: Any = data.meta["shape"]
    return poison_training_rows(ctx, params, data, sinusoid(params, shape))


def sinusoid(params: SIGParams, shape: list[int]) -> Added:
    """The trigger for pictures (C, H, W); the same in every row and channel."""
    _, height, width = shape
    wave = torch.sin(2 * math.pi * params.frequency * torch.arange(width) / width)
    return Added(wave.expand(1, height, width).contiguous(), params.train_amplitude, params.test_amplitude)
