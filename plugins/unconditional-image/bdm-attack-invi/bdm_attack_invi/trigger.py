"""The trigger that is learnt, the inner problem of InviBackdoor (2406.00816, section 3):

    min over delta of  E || sample(M, eps + delta) - y ||^2     subject to  ||delta||_inf <= bound.

Adam is fed the sign of the gradient, so that all values of the trigger move at one pace, and the result is clamped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdm_diffusers.sampling import differentiable_sample

BETAS = 0.9, 0.999
EPSILON = 1e-8
HALVINGS = 8
"""After so many halvings of its rate the trigger is final: what is left would move it by less than a hundredth."""


class LearntTrigger(nn.Module):
    """delta and the state of its optimiser. They are buffers: the training's checkpoints keep them.

    Args:
        shape: (C, H, W).
        bound: of every value of delta, in units of the initial noise's standard deviation.
        learning_rate: Adam's.
        halving: updates after which the rate is halved (the released StepLR), and again; None: never.
        least_norm: a shorter trigger is stretched to this norm after every update.
    """

    delta: Tensor
    first_moment: Tensor
    second_moment: Tensor
    updates: Tensor

    def __init__(
        self,
        shape: tuple[int, int, int],
        bound: float,
        learning_rate: float,
        halving: int | None = None,
        least_norm: float = 0.0,
    ) -> None:
        super().__init__()
        self.bound, self.learning_rate, self.halving, self.least_norm = bound, learning_rate, halving, least_norm
        for name in ("delta", "first_moment", "second_moment"):
            self.register_buffer(name, torch.zeros(shape))
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    @property
    def final(self) -> bool:
        """Whether the trigger does not move any more."""
        return self.halving is not None and int(self.updates) >= HALVINGS * self.halving

    @torch.no_grad()
    def update(self, gradient: Tensor) -> None:
        """One step of Adam (Kingma and Ba, 1412.6980, algorithm 1) on the gradient's sign, and the clamp."""
        direction = gradient.sign()
        rate = self.learning_rate * (0.5 ** (int(self.updates) // self.halving) if self.halving else 1.0)
        self.updates += 1
        self.first_moment.lerp_(direction, 1 - BETAS[0])
        self.second_moment.lerp_(direction.square(), 1 - BETAS[1])
        count = int(self.updates)
        mean, square = (
            moment / (1 - beta**count)
            for moment, beta in zip((self.first_moment, self.second_moment), BETAS, strict=True)
        )
        self.delta -= rate * mean / (square.sqrt() + EPSILON)
        self.delta.clamp_(-self.bound, self.bound)
        norm = float(self.delta.norm())
        if 0 < norm < self.least_norm:
            self.delta.mul_(self.least_norm / norm).clamp_(-self.bound, self.bound)


class TriggeredModel(nn.Module):
    """A network and the trigger that is learnt with it; called, it is the network. Only the network has parameters."""

    def __init__(self, unet: nn.Module, trigger: LearntTrigger) -> None:
        super().__init__()
        self.unet, self.trigger = unet, trigger

    def forward(self, x: Tensor, t: Tensor) -> Any:
        return self.unet(x, t)


def trigger_gradient(
    network: Callable[..., Any],
    scheduler: Any,
    delta: Tensor,
    target: Tensor,
    noise: Tensor,
    *,
    steps: int,
    seed: int = 0,
) -> tuple[Tensor, float]:
    """The gradient of the mean of (sample(M, eps + delta) - y)^2 by delta, through the whole chain, and its value.

    Args:
        network: (x, t) -> noise prediction.
        scheduler: a diffusers scheduler.
        delta: (C, H, W).
        target: y, (C, H, W) in [-1, 1].
        noise: eps, (N, C, H, W).
        steps: of the chain.
        seed: of what an ancestral sampler draws.

    Raises:
        UserError: impossible steps for this scheduler.
    """
    with torch.enable_grad():
        variable = delta.detach().clone().requires_grad_(True)
        images = differentiable_sample(network, scheduler, noise + variable, steps=steps, seed=seed)
        value = functional.mse_loss(images, target.expand_as(images))
        (gradient,) = torch.autograd.grad(value, [variable])
    return gradient, float(value.detach())
