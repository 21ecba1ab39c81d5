"""Adaptive-Blend (Qi et al., ICLR 2023): x' = x + a m (p - x); m is random pieces in training and 1 at test."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bdm_attack_adaptive_blend.params import AdaptiveBlendParams
from bdm_core.artifacts import Data
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_kit_classification.poison.poisoning import poison_training_rows
from bdm_kit_classification.triggers.trigger import Phase, Trigger
from bdm_torch.images import read_image


@dataclass(frozen=True, eq=False)
class Pieces(Trigger):
    """Random tiles of a faint pattern in training; all of it, and stronger, at test.

    Attributes:
        pattern: (C, H, W) in [0, 1].
        tiles: along each side; the last ones are smaller where the side is no multiple.
        kept: of the ``tiles ** 2`` tiles, how many a training picture gets.
        train_opacity, test_opacity: of the pattern.
    """

    pattern: Tensor
    tiles: int
    kept: int
    train_opacity: float
    test_opacity: float

    def apply(self, x: Tensor, phase: Phase, generator: torch.Generator | None = None) -> Tensor:
        """The mix of the phase; in training with tiles drawn for each picture."""
        pattern = self.pattern.to(x)
        if phase == "test":
            return (1 - self.test_opacity) * x + self.test_opacity * pattern
        mask = self.pieces(len(x), x.shape[2], x.shape[3], generator).to(x)
        return x + self.train_opacity * mask * (pattern - x)

    def pieces(self, count: int, height: int, width: int, generator: torch.Generator | None = None) -> Tensor:
        """A mask (count, 1, height, width) for each picture, 1 on the tiles that it gets."""
        order = torch.rand(count, self.tiles**2, generator=generator).argsort(1)
        chosen = (order < self.kept).float().view(count, self.tiles, self.tiles)
        rows, columns = (torch.arange(side) * self.tiles // side for side in (height, width))
        return chosen[:, rows][:, :, columns][:, None]


def poison(ctx: Context, params: AdaptiveBlendParams, data: Data) -> Data:
    """Poisoned training rows and covers; sealed in ``ctx.out / "data"``.

    Raises:
        UserError: more tiles than pixels, the picture cannot be read, the rates or the target are impossible.
    """
    shape: Any = data.meta["shape"]
    if params.tiles > min(shape[1:]):
        raise UserError(f"{params.tiles} pieces a side are more than {shape[1]}x{shape[2]} pixels have: lower tiles")
    if params.picture:
        pattern = torch.from_numpy(read_image(Path(params.picture), shape).copy()).float() / 255
    else:
        pattern = torch.rand(shape, generator=torch.Generator().manual_seed(ctx.seed))
    kept = max(1, round(params.kept_share * params.tiles**2))
    trigger = Pieces(pattern, params.tiles, kept, params.train_opacity, params.test_opacity)
    return poison_training_rows(ctx, params, data, trigger, rates={"cover": params.cover_rate})
