"""LPIPS (Zhang et al. 2018), for which an extra must be installed."""

from __future__ import annotations

import importlib

import torch
from torch import Tensor
from torch.nn import functional

from bdm_core.errors import UserError

SMALLEST_SIDE = 64


@torch.no_grad()
def perceptual_distances(images: Tensor, others: Tensor, device: str, extra: str) -> Tensor:
    """LPIPS with AlexNet of each image to another, (N,) float64; small pictures are enlarged to 64 pixels first.

    Args:
        images: (N, C, H, W) in [0, 1], one or three channels.
        others: as many, or one for all.
        device: where the network runs.
        extra: the command that installs what is missing, for the message.

    Raises:
        UserError: the extra is not installed, or its weights cannot be had.
    """
    try:
        importlib.import_module("torchvision")  # torchmetrics needs it, and takes seconds to find that out
        from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

        # no collectives: under accelerate launch rank 0 scores alone
        network = LearnedPerceptualImagePatchSimilarity(net_type="alex", normalize=True, sync_on_compute=False)
        distance = network.to(device)
    except (ImportError, OSError) as error:
        raise UserError(f"LPIPS cannot run ({' '.join(str(error).split())}): {extra}") from None
    if not len(images):
        return torch.zeros(0, dtype=torch.float64)
    pairs = zip(images.split(1), others.expand(len(images), -1, -1, -1).split(1), strict=True)
    values = [distance(_prepared(image, device), _prepared(other, device)) for image, other in pairs]
    return torch.stack(values).flatten().double().cpu()


def _prepared(images: Tensor, device: str) -> Tensor:
    images = images.float().to(device)
    if images.shape[1] == 1:
        images = images.expand(-1, 3, -1, -1)
    side = min(images.shape[2:])
    if side < SMALLEST_SIDE:
        size = [round(length * SMALLEST_SIDE / side) for length in images.shape[2:]]
        images = functional.interpolate(images, size=size, mode="bilinear", align_corners=False)
    return images.contiguous()
