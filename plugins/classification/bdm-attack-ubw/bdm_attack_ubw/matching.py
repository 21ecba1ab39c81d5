"""What the clean-label watermark descends: gradients of the weights that a training would follow, and how they agree.

Outer loss, to be lowered by the victim's training on the perturbed rows (Li et al. 2022, arXiv 2210.00875, sections 3.1
and 3.3): minus the mean cross entropy of triggered pictures and minus lambda times their mean sample-wise
dispersibility, the entropy of the prediction, so that they are told wrong and without any certainty.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdm_torch.second_derivatives import twice_differentiable

AT_ONCE = 128


def outer_loss(logits: Tensor, labels: Tensor, dispersion: float) -> Tensor:
    """-(CE(f(G(x)), y) + lambda H(f(G(x)))), the mean over the samples; a scalar.

    Args:
        logits: f(G(x)), (N, K).
        labels: y, (N,).
        dispersion: lambda, in nats of cross entropy a nat of the prediction's entropy H.

    >>> round(float(outer_loss(torch.zeros(2, 4), torch.tensor([0, 3]), 2.0)), 4)  # -3 log 4
    -4.1589
    """
    logarithms = functional.log_softmax(logits, 1)
    entropy = -(logarithms.exp() * logarithms).sum(1).mean()
    return -(functional.nll_loss(logarithms, labels) + dispersion * entropy)


def weight_gradient(model: nn.Module, loss: Tensor, *, differentiable: bool = False) -> Tensor:
    """The gradient of a loss with respect to all weights, flat.

    Args:
        model: whose parameters that require a gradient are meant.
        loss: a scalar.
        differentiable: whether a gradient is to flow through the result.
    """
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    slopes = torch.autograd.grad(loss, weights, create_graph=differentiable)
    return torch.cat([slope.flatten() for slope in slopes])


def mismatch(inner: Tensor, outer: Tensor) -> Tensor:
    """One minus the cosine between two gradients, in [0, 2]; a scalar.

    >>> float(mismatch(torch.tensor([3.0, 0.0]), torch.tensor([0.0, 2.0])))
    1.0
    """
    return 1 - inner @ outer / (inner.norm() * outer.norm()).clamp_min(1e-12)


def outer_gradient(model: nn.Module, triggered: Tensor, labels: Tensor, dispersion: float) -> Tensor:
    """The gradient of :func:`outer_loss` with respect to the weights, flat.

    Args:
        model: the surrogate, in evaluation mode.
        triggered: G(x), (N, C, H, W) in [0, 1].
        labels: y, (N,).
        dispersion: lambda.
    """
    parts = [
        weight_gradient(model, outer_loss(model(x), y, dispersion)) * (len(y) / len(labels))
        for x, y in zip(triggered.split(AT_ONCE), labels.split(AT_ONCE), strict=True)
    ]
    return torch.stack(parts).sum(0)


def matching_slope(model: nn.Module, x: Tensor, labels: Tensor, outer: Tensor) -> tuple[Tensor, float]:
    """How the mismatch between the training's gradient and the outer one changes with each pixel, and the mismatch.

    Args:
        model: the surrogate, in evaluation mode.
        x: perturbed training pictures, (N, C, H, W) in [0, 1].
        labels: their true labels, (N,).
        outer: flat, see :func:`outer_gradient`.

    Returns:
        (N, C, H, W), the second derivative's part of each batch of 128 pictures; and the mean over the batches.
    """
    slopes, values = [], []
    for part, truth in zip(x.split(AT_ONCE), labels.split(AT_ONCE), strict=True):
        pixels = part.detach().requires_grad_(True)
        with twice_differentiable():
            inner = weight_gradient(model, functional.cross_entropy(model(pixels), truth), differentiable=True)
        value = mismatch(inner, outer)
        slopes.append(torch.autograd.grad(value, pixels)[0])
        values.append(float(value.detach()))
    return torch.cat(slopes), sum(values) / len(values)


def gradient_norms(model: nn.Module, x: Sequence[Tensor], labels: Sequence[Tensor]) -> list[float]:
    """The norm of the gradient of each row's cross entropy with respect to the weights.

    Args:
        model: the surrogate, in evaluation mode.
        x: pictures (C, H, W) in [0, 1].
        labels: a number each.
    """
    return [
        float(weight_gradient(model, functional.cross_entropy(model(one[None]), label[None])).norm())
        for one, label in zip(x, labels, strict=True)
    ]
