"""LPIPS (Zhang et al. 2018), an optional extra."""

from __future__ import annotations

from torch import Tensor

from bdm_metric_target.params import EXTRA
from bdm_torch import perceptual


def perceptual_distances(images: Tensor, target: Tensor, device: str) -> Tensor:
    """LPIPS with AlexNet of each image to the target, (N,).

    Args:
        images: (N, C, H, W) in [0, 1], one or three channels.
        target: (C, H, W) in [0, 1].
        device: where the network runs.

    Raises:
        UserError: the extra is not installed, or its weights cannot be had.
    """
    return perceptual.perceptual_distances(images, target.unsqueeze(0), device, EXTRA)
