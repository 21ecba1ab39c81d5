"""Black-box trigger inversion (Diff-Cleanse, 2407.21316, section 4.1).

A pattern p in [0, 1] shifts N fixed noises by reach (2 p - 1); the images that come out should all be the same one:

    loss = N / |residual| sum over residual of (1 - cos(x_i, mean of the target set))
           + w distance of the images' entropy from a band,

where the target set is the largest clique of similar images and the residual is the rest; while no two images are
similar, all of them are both. No gradient goes through the sampler: the pattern gets the images' mean gradient, as if
d x_0 / d x_T were 1, plus that of a penalty that keeps p within [margin, 1 - margin]. The pattern is rounded to 1/255;
the gradient passes the rounding unchanged.

The cosine of the loss is that of images in [-1, 1]: among images in [0, 1], whose values are all positive, its mean
gradient darkens no pixel, and every pattern drifts to white.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from bdm_defense_diff_cleanse.params import DiffCleanseParams
from bdm_defense_diff_cleanse.similarity import mscr, pixel_entropy, target_set

Generate = Callable[[Tensor, Tensor], Tensor]
"""(shifts (K, C, H, W), noises (N, C, H, W)) -> images (K, N, C, H, W) from every noise plus every shift."""
LEVELS = 255


@dataclass(frozen=True, eq=False)
class Inverted:
    """The best pattern of one start.

    Attributes:
        shift: (C, H, W), what it adds to the noise.
        mscr: of the images that it was found with.
        loss: of these images.
        start_mscr: of the images from the start alone.
        losses: before each step.
    """

    shift: Tensor
    mscr: float
    loss: float
    start_mscr: float
    losses: list[float]


def rounded(pattern: Tensor) -> Tensor:
    """Values at multiples of 1/255; the gradient is passed on as it is."""
    return pattern + ((pattern * LEVELS).round() / LEVELS - pattern).detach()


def similarity_loss(images: Tensor, params: DiffCleanseParams) -> Tensor:
    """The loss above for images (N, C, H, W) in [-1, 1] of one pattern; a scalar, differentiable in the images."""
    members = target_set(images.detach(), params.similarity)
    chosen = members or list(range(len(images)))
    residual = [index for index in range(len(images)) if index not in set(members)]
    vectors = images.flatten(1)
    value = images.new_zeros(())
    if residual:
        centre = vectors[chosen].mean(0, keepdim=True).detach()
        apart = 1 - functional.cosine_similarity(vectors[residual], centre, dim=1)
        value = value + len(images) / len(residual) * apart.sum()
    low, high = params.entropy_band
    entropy = pixel_entropy(images)
    outside = (low - entropy).clamp(min=0) + (entropy - high).clamp(min=0)
    weight = params.entropy_weight * (1.0 if members else 2.0)
    return value + weight * outside.mean()


def range_penalty(pattern: Tensor, margin: float) -> Tensor:
    """Sum over the pattern of how far its values are outside [margin, 1 - margin]."""
    return ((margin - pattern).clamp(min=0) + (pattern - 1 + margin).clamp(min=0)).sum()


def shift_of(pattern: Tensor, reach: float) -> Tensor:
    """What patterns in [0, 1] add to the noise."""
    return reach * (2 * rounded(pattern) - 1)


def invert(
    generate: Generate,
    starts: Tensor,
    noise: Tensor,
    epochs: int,
    params: DiffCleanseParams,
    on_step: Callable[[int, int, float], None] | None = None,
) -> tuple[list[Inverted], int]:
    """Optimise K patterns side by side; each keeps the best it has seen: highest MSCR, then lowest loss.

    It ends early when all images of some pattern are similar.

    Args:
        generate: the black box.
        starts: (K, C, H, W), shifts of the noise.
        noise: (N, C, H, W), fixed.
        epochs: Adam's steps at most; the images are generated once more often.
        params: similarity, weights, rates.
        on_step: told (done, total, mean loss).

    Returns:
        One result for each start, and how many images were generated.
    """
    pattern = ((starts / params.reach + 1) / 2).clamp(0, 1).clone().requires_grad_(True)
    optimizer = torch.optim.Adam([pattern], lr=params.pattern_learning_rate)
    best: list[Inverted | None] = [None] * len(starts)
    history: list[list[float]] = [[] for _ in starts]
    generated = 0
    for epoch in range(epochs + 1):
        shifts = shift_of(pattern, params.reach).detach()
        images = generate(shifts, noise).detach()
        generated += images.shape[0] * images.shape[1]
        gradient = torch.zeros_like(shifts)
        for index, own in enumerate(images):
            value, gradient[index] = _image_gradient(own, params)
            history[index].append(value)
            share, before = mscr(own, params.similarity), best[index]
            if before is None or (share, -value) > (before.mscr, -before.loss):
                first = share if before is None else before.start_mscr
                best[index] = Inverted(shifts[index].cpu(), share, value, first, history[index])
        if on_step is not None:
            on_step(epoch + 1, epochs + 1, sum(own[-1] for own in history) / len(history))
        if epoch == epochs or any(found is not None and found.mscr == 1 for found in best):
            break
        optimizer.zero_grad()
        range_penalty(pattern, params.range_margin).backward()
        assert pattern.grad is not None
        pattern.grad += params.gradient_scale * 2 * params.reach * gradient
        optimizer.step()
        with torch.no_grad():
            pattern.clamp_(0, 1)
    return [found for found in best if found is not None], generated


def _image_gradient(images: Tensor, params: DiffCleanseParams) -> tuple[float, Tensor]:
    """The loss of one pattern's images and its mean gradient by an image; zeros where images are not finite."""
    with torch.enable_grad():
        variable = torch.nan_to_num(images).requires_grad_(True)
        value = similarity_loss(variable, params)
        gradient: Any = torch.autograd.grad(value, [variable])[0]
    return float(value.detach()), torch.nan_to_num(gradient).mean(0)
