"""Adaptive-Patch (Qi et al., ICLR 2023): each poisoned row gets one of k patches, a test picture several."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bdm_attack_adaptive_patch.params import AdaptivePatchParams
from bdm_core.artifacts import Data
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_kit_classification.poison.poisoning import poison_training_rows
from bdm_kit_classification.triggers.trigger import Phase, Trigger


@dataclass(frozen=True, eq=False)
class Patches(Trigger):
    """Several patches: x' = x + a m (p - x) for one of them in training, and for the first few at test.

    Attributes:
        patterns: (K, C, H, W) in [0, 1], of the picture's size.
        masks: (K, 1, H, W), 1 on each patch; they do not overlap.
        opacities: K, in training.
        test_opacity: of each at test.
        at_test: how many.
    """

    patterns: Tensor
    masks: Tensor
    opacities: tuple[float, ...]
    test_opacity: float
    at_test: int

    def apply(self, x: Tensor, phase: Phase, generator: torch.Generator | None = None) -> Tensor:
        """The patches of the phase; which one in training is drawn for each picture."""
        patterns, masks = self.patterns.to(x), self.masks.to(x)
        if phase == "train":
            chosen = torch.randint(len(masks), (len(x),), generator=generator).to(x.device)
            opacity = torch.tensor(self.opacities).to(x)[chosen][:, None, None, None]
            return x + opacity * masks[chosen] * (patterns[chosen] - x)
        for pattern, mask in zip(patterns[: self.at_test], masks[: self.at_test], strict=True):
            x = x + self.test_opacity * mask * (pattern - x)
        return x


def patches(params: AdaptivePatchParams, shape: list[int], seed: int) -> Patches:
    """Patches of black, white and saturated pixels, each in a cell of its own of the picture (C, H, W).

    Raises:
        UserError: a patch does not fit into its cell, or there are fewer patches than the test is to have.
    """
    channels, height, width = shape
    count = len(params.opacities)
    cells = 1 if count == 1 else next(side for side in range(2, 5) if side**2 >= count)
    side = max(2, round(params.size * min(height, width))) if params.size < 1 else round(params.size)
    if side > min(height, width) // cells:
        raise UserError(f"{count} patches of {side} pixels do not fit into {height}x{width} apart: lower size")
    if params.test_patches > count:
        raise UserError(f"test_patches {params.test_patches} is more than the {count} patches: see opacities")
    if not all(0 < opacity <= 1 for opacity in params.opacities):
        raise UserError(f"opacities {params.opacities} are not all above 0 and at most 1")
    generator = torch.Generator().manual_seed(seed)
    patterns, masks = torch.zeros(count, channels, height, width), torch.zeros(count, 1, height, width)
    for number in range(count):
        row, column = divmod(number, cells)
        down, right = _within(row, cells, height, side), _within(column, cells, width, side)
        here = (slice(down, down + side), slice(right, right + side))
        pixels = torch.rand(channels, side, side, generator=generator).round()
        pixels[:, 0, 0], pixels[:, -1, -1] = 0, 1  # whatever the patch lies on, some of it can be seen
        patterns[number][(slice(None), *here)] = pixels
        masks[number][(slice(None), *here)] = 1
    at_test = params.test_patches or count
    return Patches(patterns, masks, tuple(params.opacities), params.test_opacity, at_test)


def _within(cell: int, cells: int, length: int, side: int) -> int:
    """Where a patch starts in its cell: the outer ones at the edges of the picture."""
    return round(cell * (length - side) / max(1, cells - 1))


def poison(ctx: Context, params: AdaptivePatchParams, data: Data) -> Data:
    """Poisoned training rows and covers; sealed in ``ctx.out / "data"``.

    Raises:
        UserError: as :func:`patches`; the rates or the target are impossible.
    """
    shape: Any = data.meta["shape"]
    trigger = patches(params, shape, ctx.seed)
    return poison_training_rows(ctx, params, data, trigger, rates={"cover": params.cover_rate})
