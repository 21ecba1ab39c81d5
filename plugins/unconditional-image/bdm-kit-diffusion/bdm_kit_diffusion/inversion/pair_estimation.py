"""Trigger estimation (TERD, Mo et al., ICML 2024, arXiv 2409.05294): two noises under one trigger, one difference.

Every backdoor on the initial noise has inputs x_t = a_t x_0 + s_t gamma e + rho_t r and targets e + R_t r, with rho_t
near 1 at the last timesteps. For two noises e_1, e_2 and the same x_0 the difference of the residuals,

    d = (e_1 - M(x_1, t)) - (e_2 - M(x_2, t)),    x_i = a_t x_0 + s_t gamma e_i + r,

has no R_t r in it, so that nothing about the attack need be known. Stage 1 minimises

    1/2 ||d||^2 - weight ||r||_1,    x_0 ~ N(0, I), t among the last timesteps.

Stage 2 has what the model itself paints from gamma e + r in place of x_0, with gradients through the short chain, and
adds the same loss at the first timesteps without r: mean of the two, less weight ||r||_1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bdm_diffusers.sampling import differentiable_sample
from bdm_torch.draws import step_seed

OnStep = Callable[[int, int, float], None]
LEAST_DEVIATION = 1e-3
"""Deviations end at least here: the divergence takes their logarithm."""


@dataclass(frozen=True, eq=False)
class Probe:
    """The network that is asked, with its noise schedule.

    Attributes:
        network: ``network(x, t).sample`` predicts the noise.
        scheduler: a deterministic diffusers scheduler of the model, for stage 2.
        a, s: (T,) on the network's device, x_t = a_t x_0 + s_t e.
        window: how many of the last, and of the first, timesteps are drawn from.
        chain: steps of the short chain.
    """

    network: nn.Module
    scheduler: Any
    a: Tensor
    s: Tensor
    window: int
    chain: int

    def late(self, count: int, generator: torch.Generator) -> Tensor:
        """(count,) of the last timesteps."""
        return len(self.a) - 1 - torch.randint(self.window, (count,), generator=generator)

    def early(self, count: int, generator: torch.Generator) -> Tensor:
        """(count,) of the first timesteps."""
        return torch.randint(self.window, (count,), generator=generator)


@dataclass(frozen=True, eq=False)
class Estimate:
    """Candidates, S of them.

    Attributes:
        triggers: (S, C, H, W), r.
        deviations: (S, C, H, W), gamma, at least 1e-3.
        losses: (steps, S), 1/2 ||d||^2 before each step, a sum over the image.
        network_evaluations: forward passes, counted per sample.
    """

    triggers: Tensor
    deviations: Tensor
    losses: Tensor
    network_evaluations: int


def pairwise_loss(
    probe: Probe, clean: Tensor, noise: tuple[Tensor, Tensor], times: Tensor, trigger: Tensor, deviation: Tensor | float
) -> Tensor:
    """1/2 ||d||^2 of each pair, (N,).

    Args:
        probe: the network.
        clean: (N, C, H, W), x_0.
        noise: e_1 and e_2, each (N, C, H, W).
        times: (N,).
        trigger: r, broadcastable to clean; 0 for none.
        deviation: gamma, likewise; 1 for none.
    """
    a, s = (part[times].view(-1, 1, 1, 1) for part in (probe.a, probe.s))
    pair = torch.cat([a * clean + s * deviation * part + trigger for part in noise])
    first, second = probe.network(pair, times.repeat(2)).sample.chunk(2)
    difference = (noise[0] - first) - (noise[1] - second)
    return difference.square().flatten(1).sum(1) / 2


def estimation_loss(probe: Probe, triggers: Tensor, deviations: Tensor, pairs: int, seed: int) -> Tensor:
    """Stage 1's 1/2 ||d||^2 of each candidate, (S,): mean over ``pairs`` draws, the same for all candidates."""
    generator = torch.Generator().manual_seed(seed)
    clean, first, second = (draw(triggers, pairs, generator) for _ in range(3))
    times = probe.late(pairs, generator).to(triggers.device)
    count = len(triggers)
    loss = pairwise_loss(
        probe,
        clean.repeat(count, 1, 1, 1),
        (first.repeat(count, 1, 1, 1), second.repeat(count, 1, 1, 1)),
        times.repeat(count),
        triggers.repeat_interleave(pairs, 0),
        deviations.repeat_interleave(pairs, 0),
    )
    return loss.unflatten(0, (count, pairs)).mean(1)


def refinement_loss(probe: Probe, triggers: Tensor, deviations: Tensor, pairs: int, seed: int) -> Tensor:
    """Stage 2's loss of each candidate without the weight's term, (S,), with gradients through the generated image."""
    generator = torch.Generator().manual_seed(seed)
    count = len(triggers)
    start, first, second, third, fourth = (draw(triggers, pairs, generator).repeat(count, 1, 1, 1) for _ in range(5))
    late, early = (part(pairs, generator).to(triggers.device).repeat(count) for part in (probe.late, probe.early))
    trigger, deviation = (part.repeat_interleave(pairs, 0) for part in (triggers, deviations))
    painted = differentiable_sample(
        probe.network, probe.scheduler, deviation * start + trigger, steps=probe.chain, seed=seed
    )
    noisy = pairwise_loss(probe, painted, (first, second), late, trigger, deviation)
    clear = pairwise_loss(probe, painted, (third, fourth), early, torch.zeros_like(trigger), 1.0)
    return ((noisy + clear) / 2).unflatten(0, (count, pairs)).mean(1)


@dataclass(frozen=True)
class Descent:
    """How :func:`optimise` descends.

    Attributes:
        steps: of SGD; 0 leaves the start as it is.
        seed: step i draws from a generator of (seed, i).
        learning_rate: of r.
        deviation_learning_rate: of gamma.
        weight: of the norm, which keeps r from 0.
        largest_gradient: the gradient of each candidate's r is clipped to this 2-norm; None: never.
    """

    steps: int
    seed: int
    learning_rate: float
    deviation_learning_rate: float
    weight: float
    largest_gradient: float | None = None


def optimise(
    objective: Callable[[Tensor, Tensor, int], Tensor],
    triggers: Tensor,
    deviations: Tensor,
    descent: Descent,
    on_step: OnStep | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Minimise ``objective(r, gamma, seed) - weight ||r||_1`` of each candidate by SGD with a cosine schedule.

    Args:
        objective: (S, C, H, W) twice and a seed -> (S,); the candidates do not influence each other.
        triggers, deviations: where to start.
        descent: steps, rates, weight.
        on_step: told (done, total, mean objective).

    Returns:
        r, gamma and (steps, S) objectives without the norm.
    """
    r = triggers.detach().clone().requires_grad_(True)
    gamma = deviations.detach().clone().requires_grad_(True)
    optimizer = torch.optim.SGD(
        [{"params": [r], "lr": descent.learning_rate}, {"params": [gamma], "lr": descent.deviation_learning_rate}]
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(descent.steps, 1))
    history = []
    for step in range(descent.steps):
        optimizer.zero_grad()
        values = objective(r, gamma, step_seed(descent.seed, step, "pairs"))
        (values - descent.weight * r.abs().flatten(1).sum(1)).sum().backward()
        if descent.largest_gradient is not None and r.grad is not None:
            norms = r.grad.flatten(1).norm(dim=1).clamp(min=1e-12).view(-1, 1, 1, 1)
            r.grad *= (descent.largest_gradient / norms).clamp(max=1)
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            gamma.clamp_(min=0)
        history.append(values.detach().cpu())
        if on_step is not None:
            on_step(step + 1, descent.steps, float(history[-1].mean()))
    losses = torch.stack(history) if history else torch.empty(0, len(triggers))
    return r.detach(), gamma.detach(), losses


def draw(like: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Standard normal (count, C, H, W) on the device of ``like``, drawn on the CPU."""
    return torch.randn(count, *like.shape[1:], generator=generator).to(like.device)
