"""Data noise of pictures: Gaussian noise, JPEG, blur."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from bdm_core.errors import UserError
from bdm_kit_classification.noise.kind import Noise


def gaussian(raw: Tensor, level: float, seeds: list[int]) -> Tensor:
    """White Gaussian noise of the standard deviation ``level`` on each value, clipped to [0, 1].

    >>> gaussian(torch.full((1, 1, 8, 8), 0.5), 0.1, [0]).shape
    torch.Size([1, 1, 8, 8])
    """
    drawn = [torch.randn(raw.shape[1:], generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return (raw + level * torch.stack(drawn).to(raw)).clamp(0, 1) if drawn else raw


def jpeg(raw: Tensor, level: float, seeds: list[int]) -> Tensor:
    """Each picture written as JPEG of the quality ``level`` and read again; nothing is drawn.

    Raises:
        UserError: the pictures have neither one channel nor three.
    """
    if raw.shape[1] not in (1, 3):
        raise UserError(f"data_noise=jpeg takes pictures of 1 or 3 channels, these have {raw.shape[1]}")
    found = []
    for picture in raw.mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy():
        file = io.BytesIO()
        Image.fromarray(picture[:, :, 0] if picture.shape[2] == 1 else picture).save(file, "JPEG", quality=round(level))
        levels = torch.from_numpy(np.array(Image.open(file)))
        found.append(levels[None] if levels.ndim == 2 else levels.permute(2, 0, 1))
    return torch.stack(found).to(raw).div_(255) if found else raw


def blur(raw: Tensor, level: float, seeds: list[int]) -> Tensor:
    """A Gaussian of the deviation ``level`` in pixels, cut off at three deviations, the edge repeated; nothing drawn.

    >>> blur(torch.ones(1, 3, 8, 8), 2.0, [0]).allclose(torch.ones(1, 3, 8, 8))
    True
    """
    radius = max(1, int(3 * level + 0.5))
    line = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, dtype=torch.float64) / level) ** 2)
    line = (line / line.sum()).to(raw)
    channels = raw.shape[1]
    padded = functional.pad(raw, (radius,) * 4, mode="replicate")
    across = functional.conv2d(padded, line.expand(channels, 1, 1, -1), groups=channels)
    return functional.conv2d(across, line[:, None].expand(channels, 1, -1, 1), groups=channels).clamp(0, 1)


NOISES: dict[str, Noise] = {
    "gaussian": Noise(0.1, 0.0, 10.0, "its standard deviation, pictures being in [0, 1]", gaussian),
    "jpeg": Noise(25, 1, 95, "the quality: less is stronger", jpeg),
    "blur": Noise(1.0, 0.05, 100.0, "the deviation of the Gaussian in pixels", blur),
}
"""Of pictures."""
