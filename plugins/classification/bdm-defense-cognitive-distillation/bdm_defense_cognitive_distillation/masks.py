"""Cognitive patterns (Huang et al., ICLR 2023, arXiv 2301.10908).

For a picture x the mask m in [0, 1] (H, W) minimises

    |f(x m + (1 - m) d) - f(x)|_1 + alpha |m|_1 + beta TV(m)

with a random colour d, drawn anew in each step, in place of what is masked out. The mask of a poisoned picture is
small: the trigger is enough.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

BETAS = (0.1, 0.1)
"""Adam's, as published."""


def objective(output: Tensor, wanted: Tensor, masks: Tensor, alpha: float, beta: float) -> Tensor:
    """The objective of each picture, (n,).

    Args:
        output: of the masked pictures (n, K); the distance is the mean over the K numbers.
        wanted: of the pictures (n, K).
        masks: (n, 1, H, W) in [0, 1]; the size is their sum, the total variation the mean of squared differences of
            neighbours.
        alpha: weight of the size.
        beta: weight of the total variation.
    """
    down = (masks[:, :, 1:] - masks[:, :, :-1]).square().flatten(1)
    right = (masks[:, :, :, 1:] - masks[:, :, :, :-1]).square().flatten(1)
    variation = down.mean(1) + right.mean(1)
    return (output - wanted).abs().mean(1) + alpha * masks.flatten(1).sum(1) + beta * variation


def distil(
    model: Callable[[Tensor], Tensor],
    pictures: Tensor,
    *,
    steps: int,
    learning_rate: float,
    alpha: float,
    beta: float,
    generator: torch.Generator,
) -> Tensor:
    """The masks (n, 1, H, W) of pictures (n, C, H, W) in [0, 1]; the model's parameters need no gradients.

    Masks are (1 + tanh u) / 2, u from 1.
    """
    with torch.no_grad():
        wanted = model(pictures)
    count, channels, height, width = pictures.shape
    free = torch.ones(count, 1, height, width, device=pictures.device).requires_grad_()
    optimizer = torch.optim.Adam([free], lr=learning_rate, betas=BETAS)
    for _ in range(steps):
        masks = (1 + free.tanh()) / 2
        colour = torch.rand(count, channels, 1, 1, generator=generator).to(pictures.device)
        each = objective(model(pictures * masks + (1 - masks) * colour), wanted, masks, alpha, beta)
        optimizer.zero_grad()
        each.sum().backward()
        optimizer.step()
    return ((1 + free.tanh()) / 2).detach()
