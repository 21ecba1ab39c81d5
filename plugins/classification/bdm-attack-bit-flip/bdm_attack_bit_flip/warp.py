"""The hardly perceptible trigger: faint noise, then a smooth warp."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from bdm_kit_classification.triggers.trigger import Phase, Trigger


@dataclass(frozen=True, eq=False)
class NoiseAndWarp(Trigger):
    """x' = warp(clip(x + noise)): each pixel is read at its place plus the flow, bilinearly.

    Attributes:
        noise: (C, H, W).
        flow: (2, H, W), to the right and down, in half pictures.
    """

    noise: Tensor
    flow: Tensor

    def apply(self, x: Tensor, phase: Phase, generator: torch.Generator | None = None) -> Tensor:
        """The same in both phases."""
        return warped((x + self.noise.to(x)).clamp(0, 1), self.flow.to(x))


def warped(x: Tensor, flow: Tensor) -> Tensor:
    """Pictures (N, C, H, W) read at places moved by the flow (2, H, W); places outside are those of the edge."""
    height, width = x.shape[2:]
    at = [(2 * torch.arange(size, dtype=x.dtype, device=x.device) + 1) / size - 1 for size in (width, height)]
    right = (at[0] + flow[0]).clamp(at[0][0], at[0][-1])
    down = (at[1][:, None] + flow[1]).clamp(at[1][0], at[1][-1])
    grid = torch.stack([right, down], -1).expand(len(x), -1, -1, -1)
    return functional.grid_sample(x, grid, mode="bilinear", align_corners=False)


def roughness(flow: Tensor) -> Tensor:
    """Root of the mean squared differences between neighbouring pixels, down and to the right, of both directions.

    >>> roughness(torch.tensor([[[0.0, 1.0]], [[0.0, 0.0]]])).round(decimals=4)
    tensor(0.7071)
    """
    down, right = flow[:, 1:] - flow[:, :-1], flow[:, :, 1:] - flow[:, :, :-1]
    parts = [part.square().mean() for part in (down, right) if part.numel()]
    return torch.stack([*parts, flow.new_zeros(())]).sum().sqrt()


def held(noise: Tensor, flow: Tensor, epsilon: float, kappa: float) -> None:
    """Bring both into their bounds, in place: |noise| <= epsilon, roughness(flow) <= kappa."""
    with torch.no_grad():
        noise.clamp_(-epsilon, epsilon)
        rough = float(roughness(flow))
        if rough > kappa:
            flow.mul_(kappa / rough)
