"""The trigger: small chequered patches in all four corners."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bdm_core.errors import UserError
from bdm_kit_classification.triggers.trigger import Phase, Trigger


@dataclass(frozen=True, eq=False)
class Corners(Trigger):
    """x' = clip(x + amplitude * pattern) with a pattern of 1, -1 and 0, zero outside of the corners.

    Attributes:
        pattern: (1, H, W).
        amplitude: in (0, 1]; at 1 the patches are black and white whatever they lie on.
    """

    pattern: Tensor
    amplitude: float

    def apply(self, x: Tensor, phase: Phase, generator: torch.Generator | None = None) -> Tensor:
        """The same in both phases; the adversarial change of training rows is not part of the trigger."""
        return (x + self.amplitude * self.pattern.to(x)).clamp(0, 1)


def corner_patches(patch: float, amplitude: float, shape: list[int]) -> Corners:
    """Patches for pictures (C, H, W): chequered, the corner's own pixel white, mirrored into all four corners.

    Raises:
        UserError: they do not fit.
    """
    _, height, width = shape
    side = max(1, round(patch * min(height, width))) if patch < 1 else round(patch)
    if 2 * side > min(height, width):
        raise UserError(f"patches of {side} pixels do not fit into all corners of {height}x{width}: lower patch")
    chequers = 1.0 - 2.0 * ((torch.arange(side)[:, None] + torch.arange(side)) % 2)
    pattern = torch.zeros(1, height, width)
    pattern[0, :side, :side] = chequers
    pattern = torch.maximum(pattern, pattern.flip(2)) + torch.minimum(pattern, pattern.flip(2))
    pattern = torch.maximum(pattern, pattern.flip(1)) + torch.minimum(pattern, pattern.flip(1))
    return Corners(pattern, amplitude)
