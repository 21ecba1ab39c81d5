"""A backdoor of Perlin noise: x' = clip(x + s n) with one noise n of largest value 1 for all pictures and channels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from bdm_attack_perlin_noise.noise import octaves
from bdm_attack_perlin_noise.params import PerlinNoiseParams
from bdm_core.artifacts import Data
from bdm_core.context import Context
from bdm_kit_classification.poison.poisoning import poison_training_rows
from bdm_kit_classification.triggers.blend import Added


def poison(ctx: Context, params: PerlinNoiseParams, data: Data) -> Data:
    """Poisoned training rows; sealed in ``ctx.out / "data"``.

    Raises:
        UserError: the rate or the target is impossible.
    """
    shape: Any = data.meta["shape"]
    return poison_training_rows(ctx, params, data, trigger_of(params, shape, ctx.seed))


def trigger_of(params: PerlinNoiseParams, shape: Sequence[int], seed: int) -> Added:
    """The noise for pictures (C, H, W), drawn from the seed and scaled so that no pixel changes by more than wanted."""
    height, width = shape[1:]
    period = params.period * min(height, width) if params.period < 1 else params.period
    generator = torch.Generator().manual_seed(seed % 2**63)
    noise = octaves(height, width, period, params.octaves, params.persistence, generator)
    if params.sine:
        noise = torch.sin(2 * math.pi * params.sine * noise)
    noise = noise / noise.abs().max().clamp_min(1e-6)
    return Added(noise[None], params.strength, params.strength)
