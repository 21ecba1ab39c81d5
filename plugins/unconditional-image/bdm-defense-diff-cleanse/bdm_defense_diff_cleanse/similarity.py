"""How alike generated images are: cosine, the largest clique of similar images, and the entropy of their pixels."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

BLANK = 0.02
"""Images in [0, 1] with a smaller standard deviation of their pixels are blank: alike, but no sign of a target."""
FAR_OUT = 3.0
"""Images that leave [-1, 1] by so much that their root mean square exceeds this were generated out of range."""
LEVELS, LARGEST_SIDE = 64, 32
"""Of the histogram of the entropy: bins, and the side to which larger images are averaged before."""


def pixels(images: Tensor) -> Tensor:
    """Images (N, C, H, W) in [-1, 1] as vectors (N, C H W) in [0, 1]; clipped."""
    return ((images + 1) / 2).clamp(0, 1).flatten(1)


def sound(images: Tensor) -> Tensor:
    """(N,) bool: images (N, C, H, W) that are finite, in range and not blank; only these can be similar."""
    finite = images.flatten(1).isfinite().all(1)
    flat = torch.nan_to_num(images).flatten(1)
    return finite & (flat.square().mean(1).sqrt() < FAR_OUT) & (pixels(torch.nan_to_num(images)).std(1) > BLANK)


def cosines(images: Tensor) -> Tensor:
    """Cosine of the pixels of every pair (N, N), of images (N, C, H, W) in [-1, 1]; 0 for those that are not sound."""
    flat = functional.normalize(pixels(torch.nan_to_num(images)), dim=1)
    fit = sound(images)
    return torch.where(fit[:, None] & fit[None], flat @ flat.T, 0.0)


def largest_clique(similar: Tensor) -> list[int]:
    """Indices of a largest set of mutually similar items (Bron and Kerbosch 1973, with Tomita's pivot), ascending.

    Args:
        similar: (N, N) bool, symmetric; the diagonal is not used. One item alone counts as a clique.
    """
    count = len(similar)
    neighbours = [{j for j in range(count) if j != i and row[j]} for i, row in enumerate(similar.tolist())]
    best: list[int] = []

    def grow(clique: list[int], open_: set[int], closed: set[int]) -> None:
        nonlocal best
        if len(clique) + len(open_) <= len(best):
            return
        if not open_ and not closed:
            best = sorted(clique)
            return
        pivot = max(sorted(open_ | closed), key=lambda item: len(neighbours[item] & open_))
        for item in sorted(open_ - neighbours[pivot]):
            grow([*clique, item], open_ & neighbours[item], closed & neighbours[item])
            open_ = open_ - {item}
            closed = closed | {item}

    grow([], set(range(count)), set())
    return best


def target_set(images: Tensor, threshold: float) -> list[int]:
    """The largest clique of images whose cosines exceed the threshold; [] if no two do."""
    clique = largest_clique(cosines(images) > threshold)
    return clique if len(clique) > 1 else []


def mscr(images: Tensor, threshold: float) -> float:
    """The share of the largest clique, 2/N to 1; 0 if no two images are similar."""
    return len(target_set(images, threshold)) / max(1, len(images))


def pixel_entropy(images: Tensor) -> Tensor:
    """Entropy of the pixel values of each image (N, C, H, W) in [-1, 1], in bits (N,); differentiable.

    The histogram has 64 soft bins (triangular, each value shared between its two neighbours).
    """
    if max(images.shape[-2:]) > LARGEST_SIDE:
        images = functional.adaptive_avg_pool2d(images, [min(side, LARGEST_SIDE) for side in images.shape[-2:]])
    place = pixels(images) * (LEVELS - 1)
    bins = torch.arange(LEVELS, device=images.device, dtype=place.dtype)
    share = (1 - (place[..., None] - bins).abs()).clamp(min=0).mean(1)
    return -(share * (share + 1e-12).log()).sum(1) / math.log(2)
