"""Steps down L + lambda ||grad L||, the loss and the norm of its own gradient.

That sum is what GN-FT (Zhou et al. 2025, arXiv 2502.01152) fine-tunes with. Its gradient g + lambda H g / ||g|| has the
Hessian H, which two gradients approximate (Zhao et al., ICML 2022, arXiv 2202.03599): with u = g / ||g||,
H u = (grad L(w + r u) - g) / r + O(r), and so the step goes along

    (1 - alpha) grad L(w) + alpha grad L(w + r u),    alpha = lambda / r.

alpha = 0 is a plain step, alpha = 1 one of sharpness-aware minimisation.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bdm_kit_classification.training.sharpness import kept_statistics
from bdm_torch.objective import Step, StepRule

LEAST_NORM = 1e-12
"""A shorter gradient has no direction: the second one is taken at the weights themselves."""


def penalised(network: nn.Module, penalty: float, radius: float) -> StepRule:
    """The rule of such steps, for ``Changes(step=...)``.

    Running statistics of batch normalisation follow the first pass only, at the weights themselves. The norm is over
    all trained weights; the loss that is reported is L.

    Args:
        network: whose statistics are kept in the second pass.
        penalty: lambda, weight of the norm.
        radius: r, how far along the gradient the second one is taken.
    """
    alpha = penalty / radius

    def rule(step: Step) -> Tensor:
        loss = step.backward()
        with torch.no_grad():
            weights = [value.clone() for value in step.parameters]
            first = [torch.zeros_like(value) if value.grad is None else value.grad.clone() for value in step.parameters]
            for value, move in zip(step.parameters, moves(first, radius), strict=True):
                value.add_(move)
        step.clear()
        with kept_statistics(network):
            step.backward()
        with torch.no_grad():
            for value, weight, gradient in zip(step.parameters, weights, first, strict=True):
                value.copy_(weight)
                if value.grad is not None:
                    value.grad.mul_(alpha).add_((1 - alpha) * gradient)
        step.optimise()
        return loss

    return rule


def moves(gradients: list[Tensor], radius: float) -> list[Tensor]:
    """``radius`` g / ||g||, the norm over all; nothing moves where there is no gradient.

    >>> [move.tolist() for move in moves([torch.tensor([3.0]), torch.tensor([4.0])], radius=10.0)]
    [[6.0], [8.0]]
    """
    norm = torch.stack([gradient.square().sum() for gradient in gradients]).sum().sqrt().clamp_min(LEAST_NORM)
    return [radius * gradient / norm for gradient in gradients]
