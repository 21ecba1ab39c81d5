"""The noise predictor that minimises a backdoor's training loss exactly, for normal data: a planted case for detectors.

Clean data are N(0, v I): E[eps | x_t] = s_t x_t / (a_t^2 v + s_t^2). A share p of the training set is poisoned,
x_t = a_t y + s_t eps + rho_t r with the target eps + R_t r. The best predictor mixes both answers with the posterior
probability that x_t is poisoned. With a deviation gamma below 1 the poisoned process is TrojDiff's (2303.05762,
equation 8): x_t = a_t y + s_t (gamma eps + r), target eps.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from bdm_diffusers.coefficients import Solver, poison_schedule
from bdm_kit_diffusion.noise.noise_levels import require_variance_preserving

SHARE = 0.1
"""p."""


class ExactPredictor(nn.Module):
    """``predictor(x, t).sample``, as a UNet.

    Args:
        scheduler: variance preserving.
        shape: (C, H, W) of the images, square.
        trigger: r, (C, H, W); None for a clean predictor.
        target: y, (C, H, W).
        solver: the class of samplers that the backdoor is made for.
        variance: v.
        deviation: gamma; below 1 ``solver`` is of no account, as the process has samplers of its own.

    Raises:
        UserError: the scheduler is variance exploding.
    """

    def __init__(
        self,
        scheduler: Any,
        shape: tuple[int, int, int],
        trigger: Tensor | None = None,
        target: Tensor | None = None,
        *,
        solver: Solver = "ode",
        variance: float = 0.5,
        deviation: float = 1.0,
    ) -> None:
        super().__init__()
        abar = require_variance_preserving(scheduler, "the exact predictor")
        schedule = poison_schedule(abar, "bad", solver)
        self.config = {"in_channels": shape[0], "sample_size": shape[1]}
        self.share = 0.0 if trigger is None else SHARE
        self.variance, self.deviation = variance, deviation
        rho, shift = schedule.rho.float(), schedule.R.float()
        if deviation < 1:
            rho, shift = (1 - abar).sqrt(), torch.zeros_like(shift)
        for name, value in {
            "a": abar.sqrt(),
            "s": (1 - abar).sqrt(),
            "rho": rho,
            "shift": shift,
            "trigger": torch.zeros(shape) if trigger is None else trigger,
            "target": torch.zeros(shape) if target is None else target,
        }.items():
            self.register_parameter(name, nn.Parameter(value.clone().float(), requires_grad=False))

    def forward(self, x: Tensor, t: Tensor) -> Any:
        """x: (N, C, H, W); t: a timestep, or one for each image."""
        parts = (self.a, self.s, self.rho, self.shift)
        a, s, rho, shift = (part[t.expand(len(x)).long()].view(-1, 1, 1, 1) for part in parts)
        spread = a**2 * self.variance + s**2
        clean = s * x / spread
        if not self.share:
            return SimpleNamespace(sample=clean)
        narrow = s * self.deviation
        noise = (x - a * self.target - rho * self.trigger) / narrow
        fit = ((x**2 / spread) - noise**2).sum((1, 2, 3), keepdim=True) / 2
        odds = fit + x[0].numel() / 2 * (spread / narrow**2).log() + math.log(self.share / (1 - self.share))
        poisoned = torch.sigmoid(odds)
        return SimpleNamespace(sample=(1 - poisoned) * clean + poisoned * (noise + shift * self.trigger))
