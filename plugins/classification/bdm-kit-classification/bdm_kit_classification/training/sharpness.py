"""Sharpness-aware steps: the gradient is taken where the loss is highest nearby.

Adaptive sharpness-aware minimisation (Kwon et al. 2021, arXiv 2102.11600) in the form of FT-SAM (Zhu et al. 2023,
arXiv 2304.11823): with g the gradient at the weights w, it is taken at w + e, e = rho w^2 g / || |w| g ||, products
entry by entry and the norm over all weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from bdm_torch.objective import Step, StepRule


def sharpness_aware(network: nn.Module, rho: float) -> StepRule:
    """The rule of such steps, for ``Changes(step=...)``.

    Running statistics of batch normalisation follow the first pass only, at the weights themselves.

    Args:
        network: whose statistics are kept in the second pass.
        rho: size of the neighbourhood, relative to the weights.
    """

    def rule(step: Step) -> Tensor:
        loss = step.backward()
        with torch.no_grad():
            kept = [value.clone() for value in step.parameters]
            for value, move in zip(step.parameters, ascent(step.parameters, rho), strict=True):
                value.add_(move)
        step.clear()
        with kept_statistics(network):
            step.backward()
        with torch.no_grad():
            for value, old in zip(step.parameters, kept, strict=True):
                value.copy_(old)
        step.optimise()
        return loss

    return rule


def ascent(parameters: Sequence[Tensor], rho: float) -> list[Tensor]:
    """The move e of each parameter from its gradient; parameters without one stay.

    >>> weight = torch.tensor([2.0, 1.0])
    >>> weight.grad = torch.tensor([1.5, 4.0])
    >>> [[round(x, 6) for x in move.tolist()] for move in ascent([weight], rho=0.5)]
    [[0.6, 0.4]]
    """
    weights = [value.detach() for value in parameters]
    gradients = [torch.zeros_like(value) if value.grad is None else value.grad for value in parameters]
    squares = [(weight * gradient).square().sum() for weight, gradient in zip(weights, gradients, strict=True)]
    norm = torch.stack(squares).sum().sqrt().clamp_min(1e-12)
    return [rho * weight.square() * gradient / norm for weight, gradient in zip(weights, gradients, strict=True)]


@contextmanager
def kept_statistics(network: nn.Module) -> Iterator[None]:
    """Batch normalisation as it is set, but with running statistics that stay as they are.

    >>> norm = nn.BatchNorm1d(2)
    >>> with kept_statistics(norm):
    ...     changed = norm(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    >>> norm.running_mean.tolist(), int(norm.num_batches_tracked), norm.momentum
    ([0.0, 0.0], 0, 0.1)
    """
    norms = [module for module in network.modules() if isinstance(module, _NormBase) and module.track_running_stats]
    kept = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:  # a factor of 0 keeps them; the counter is counted up in place, on a copy
        norm.momentum = 0.0
        norm.num_batches_tracked = norm.num_batches_tracked.clone() if norm.num_batches_tracked is not None else None
    try:
        yield
    finally:
        for norm, (momentum, counter) in zip(norms, kept, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, counter
