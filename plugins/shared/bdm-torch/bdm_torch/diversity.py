"""How diverse a generated set is: uniformity and total variation, the features of Elijah (2312.00050, section 4.3), and
the density of its similarity graph (UFID, 2404.01101).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from bdm_core.errors import UserError

Distance = Callable[[Tensor], Tensor]
"""Images (N, C, H, W) in [-1, 1] -> distances (N, N)."""


def pixel_distances(images: Tensor) -> Tensor:
    """Mean squared difference of every pair of images (N, C, H, W): (N, N), symmetric, zeros on the diagonal.

    >>> images = torch.stack([torch.full((1, 8, 8), -1.0), torch.full((1, 8, 8), 1.0)])
    >>> pixel_distances(images).tolist()
    [[0.0, 4.0], [4.0, 0.0]]
    """
    flat = images.flatten(1).double()
    return torch.stack([(flat - row).square().mean(1) for row in flat])


def perceptual_distances(images: Tensor) -> Tensor:
    """LPIPS (AlexNet, Zhang et al., 1801.03924) of every pair of images (N, C, H, W) in [-1, 1]: (N, N).

    Images below 64 pixels are enlarged to 64, as the network has a stride of 32.

    Raises:
        UserError: torchmetrics or torchvision is missing (its weights are then fetched by torchvision on first use).
    """
    try:
        from torchmetrics.functional.image.lpips import learned_perceptual_image_patch_similarity as lpips
    except ImportError:
        raise UserError("the LPIPS distance needs pip install 'bdm-torch[lpips]'") from None
    images = images.clamp(-1, 1).expand(-1, 3, -1, -1)
    if min(images.shape[-2:]) < 64:
        images = torch.nn.functional.interpolate(images, size=(64, 64), mode="bilinear")
    table = torch.zeros(len(images), len(images), dtype=torch.float64)
    for i in range(len(images)):
        for j in range(i):
            table[i, j] = table[j, i] = float(lpips(images[i : i + 1], images[j : j + 1], net_type="alex"))
    return table


def uniformity(distances: Tensor, trim: int | None = None) -> float:
    """The mean distance between the images of a set, without the extremes; small if all images are alike.

    Each image's distances to the others are sorted, ``trim`` are dropped at either end and the rest averaged; then the
    averages are sorted and trimmed likewise. So a few samples that missed the target do not hide the others.

    Args:
        distances: (N, N), symmetric; the diagonal is not used.
        trim: 0 for the plain mean; None for a quarter of N, which is 4 of 16 as in Elijah's evaluation.

    Raises:
        UserError: too few images for the trimming.

    >>> uniformity(torch.tensor([[0.0, 1.0, 2.0], [1.0, 0.0, 3.0], [2.0, 3.0, 0.0]]), trim=0)
    2.0
    """
    count = len(distances)
    trim = count // 4 if trim is None else trim
    if distances.shape != (count, count) or count - 1 - 2 * trim < 1 or trim < 0:
        raise UserError(f"uniformity needs (N, N) distances, N > 2 * trim + 1; got {tuple(distances.shape)}, {trim}")
    others = ~torch.eye(count, dtype=torch.bool, device=distances.device)
    rows = distances[others].view(count, count - 1).sort(1).values[:, trim : count - 1 - trim].mean(1)
    return float(rows.sort().values[trim : count - trim].mean())


def total_variation(images: Tensor) -> float:
    """Sum of absolute differences of neighbouring pixels, mean over the images (N, C, H, W).

    >>> total_variation(torch.tensor([[[[-1.0, 1.0], [-1.0, 1.0]]]]))
    4.0
    """
    down = (images[..., 1:, :] - images[..., :-1, :]).abs().flatten(1).sum(1)
    across = (images[..., 1:] - images[..., :-1]).abs().flatten(1).sum(1)
    return float((down + across).mean())


def densities(features: Tensor) -> Tensor:
    """Mean cosine over all pairs of the V vectors of each group, features (N, V, D), V >= 2: (N,), float64.

    Source: the graph density of UFID (Guan et al., AAAI 2025), whose vertices are the generated images.

    >>> densities(torch.tensor([[[1.0, 0.0], [0.0, 2.0]], [[1.0, 1.0], [2.0, 2.0]]])).round(decimals=4).tolist()
    [0.0, 1.0]
    """
    unit = torch.nn.functional.normalize(features.double(), dim=2)
    weights = unit @ unit.transpose(1, 2)
    count = features.shape[1]
    return (weights.sum((1, 2)) - weights.diagonal(dim1=1, dim2=2).sum(1)) / (count * (count - 1))
