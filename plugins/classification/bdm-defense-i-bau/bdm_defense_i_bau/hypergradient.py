"""The gradient of min over w of H(d*(w), w), where d*(w) minimises G(d, w) = P(d) - H(d, w), by implicit functions.

One pass through the network serves H and G.
d* is a fixed point of F(d, w) = d - r dG/dd. The gradient of H(d*(w), w) in w is dH/dw + (dF/dw)^T v, where v solves
v = (dF/dd)^T v + dH/dd; a few steps of this very iteration give v (Zeng et al. 2022, section 4; Grazzi et al. 2020,
arXiv 2006.16218).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def with_implicit_part(
    outer: Callable[[Tensor], Tensor],
    penalty: Callable[[Tensor], Tensor],
    perturbation: Tensor,
    *,
    steps: int,
    rate: float,
) -> Tensor:
    """A scalar of the value H whose gradient in the weights is the hyper-gradient.

    Args:
        outer: H as a function of the perturbation; the weights are in its closure.
        penalty: P, which keeps the perturbation small; both are twice differentiable.
        perturbation: d*, where G = P - H is least.
        steps: of the iteration for v; 0 leaves the implicit part out.
        rate: r, below 2 divided by the largest curvature of G for the iteration to converge.

    >>> w = torch.tensor(3.0, requires_grad=True)  # d* = w / 4, so that H = w^2 / 4 and its gradient is w / 2
    >>> given = lambda d: w * d, lambda d: 2 * d * d, torch.tensor(0.75)
    >>> scalar = with_implicit_part(*given, steps=50, rate=0.1)
    >>> scalar.backward()
    >>> round(scalar.item(), 4), round(w.grad.item(), 4)
    (2.25, 1.5)
    """
    if not steps:
        return outer(perturbation)
    point = perturbation.detach().clone().requires_grad_()
    value = outer(point)
    (pull,) = torch.autograd.grad(value, point, create_graph=True)
    (push,) = torch.autograd.grad(penalty(point), point, create_graph=True)
    mapped = point - rate * (push - pull)
    v = torch.zeros_like(pull)
    for _ in range(steps):
        (turned,) = torch.autograd.grad(mapped, point, v, retain_graph=True)
        v = turned + pull.detach()
    implicit = (v.detach() * mapped).sum()
    return value + implicit - implicit.detach()
