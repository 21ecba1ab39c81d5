"""Trigger inversion: find what must be added to the initial noise so that the noise prediction shifts along with it.

At the last timestep a backdoored network answers eps + lambda r to the input eps + r, where lambda is R_T of
:mod:`bdm_diffusers.coefficients`: about 1/2 for ancestral sampling, 1 for deterministic samplers. Elijah (An et
al., 2312.00050, eq. 6) therefore minimises

    || mean_b M(k (eps_b + tau), T-1) - lambda tau ||_1,

with k = 1, or k = sigma_T for variance-exploding models, here for many starts and values of lambda at once: all of them
are rows of one batch. Every clean model has the solution tau = 0 too, and a start reaches r only if it overlaps with r
enough (about <tau, r> > ||r||^2 / 2).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bdm_core.errors import UserError
from bdm_kit_diffusion.inversion.frozen import frozen
from bdm_torch.optimizer import AdamW

OnStep = Callable[[int, int, float], None]
"""Called as on_step(done, total, mean objective) after each step."""


@dataclass(frozen=True, eq=False)
class Inversion:
    """What an inversion found, S candidates.

    Attributes:
        triggers: (S, C, H, W), float32, on the CPU.
        losses: (steps, S), the objective of each candidate before each step, mean over the values of the image.
        network_evaluations: forward passes, counted per sample.
    """

    triggers: Tensor
    losses: Tensor
    network_evaluations: int


@dataclass(frozen=True)
class InversionOptions:
    """How to invert.

    Attributes:
        steps: of Adam.
        learning_rate: Adam's.
        batch_size: samples in one forward pass at most, rounded to whole candidates.
        input_scale: k, see :func:`bdm_kit_diffusion.noise.noise_levels.initial_scale`.
    """

    steps: int
    learning_rate: float = 0.1
    batch_size: int = 512
    input_scale: float = 1.0


def invert(
    network: nn.Module,
    starts: Tensor,
    scales: Tensor,
    noise: Tensor,
    timestep: int,
    options: InversionOptions,
    on_step: OnStep | None = None,
) -> Inversion:
    """Minimise the objective from every start by Adam; the candidates do not influence each other.

    Args:
        network: predicts the noise, ``network(x, t).sample``; its weights are left alone, its gradients unused.
        starts: (S, C, H, W), where each candidate starts, in the units of the initial noise.
        scales: (S,), lambda of each candidate.
        noise: (B, C, H, W), the fixed noise eps_b, the same for all candidates; on the device of the network.
        timestep: where the network is asked, T - 1.
        options: of Adam, and the scale of the inputs.
        on_step: told of the progress.

    Raises:
        UserError: the shapes do not fit together.

    >>> from types import SimpleNamespace
    >>> class Halving(nn.Module):
    ...     def forward(self, x, t):
    ...         return SimpleNamespace(sample=0.5 * x)
    >>> noise, options = torch.zeros(2, 1, 2, 2), InversionOptions(steps=20)
    >>> found = invert(Halving(), torch.ones(1, 1, 2, 2), torch.ones(1), noise, 0, options)
    >>> found.triggers.shape, found.network_evaluations, bool(found.losses[-1] < found.losses[0])
    (torch.Size([1, 1, 2, 2]), 40, True)
    """
    if starts.ndim != 4 or noise.shape[1:] != starts.shape[1:] or scales.shape != starts.shape[:1] or not len(noise):
        raise UserError(
            f"inversion needs starts (S,C,H,W), scales (S,) and noise (B,C,H,W), got {tuple(starts.shape)}, "
            f"{tuple(scales.shape)} and {tuple(noise.shape)}"
        )
    triggers = starts.detach().to(noise.device).clone().requires_grad_(True)
    scales = scales.to(noise.device).view(-1, 1, 1, 1)
    optimizer = AdamW([triggers], learning_rate=options.learning_rate)
    parts = torch.arange(len(starts), device=noise.device).split(max(1, options.batch_size // len(noise)))
    times = torch.full((len(parts[0]) * len(noise),), timestep, device=noise.device) if len(starts) else None
    history = []
    with frozen(network):
        for step in range(options.steps):
            triggers.grad = None
            objectives = []
            for part in parts:
                objective = shift_residual(network, triggers[part], scales[part], noise, times, options.input_scale)
                objective.sum().backward()
                objectives.append(objective.detach())
            optimizer.step()
            history.append(torch.cat(objectives).cpu())
            if on_step is not None:
                on_step(step + 1, options.steps, float(history[-1].mean()))
    losses = torch.stack(history) if history else torch.empty(0, len(starts))
    return Inversion(triggers.detach().cpu(), losses, options.steps * len(starts) * len(noise))


def shift_residual(
    network: nn.Module,
    triggers: Tensor,
    scales: Tensor,
    noise: Tensor,
    times: Tensor | None,
    input_scale: float = 1.0,
) -> Tensor:
    """The objective of each candidate, (S,): mean over the image of |mean_b M(k (eps_b + tau), t) - lambda tau|.

    Args:
        triggers: (S, C, H, W).
        scales: (S, 1, 1, 1).
        noise: (B, C, H, W).
        times: at least S * B timesteps; the first ones are used.
        input_scale: k.

    >>> from types import SimpleNamespace
    >>> def halving(x, t):  # what is added to the noise appears in the answer by one half
    ...     return SimpleNamespace(sample=0.5 * x)
    >>> noise, found = torch.zeros(2, 1, 2, 2), torch.ones(2, 1, 2, 2)
    >>> shift_residual(halving, found, torch.tensor([0.5, 1.0]).view(2, 1, 1, 1), noise, None).tolist()
    [0.0, 0.5]
    """
    inputs = input_scale * (noise[None] + triggers[:, None]).flatten(0, 1)
    output = network(inputs, times[: len(inputs)] if times is not None else None).sample
    shift = output.unflatten(0, (len(triggers), len(noise))).mean(1)
    return (shift - scales * triggers).abs().mean((1, 2, 3))


def distinct(candidates: Tensor, scores: Tensor, tolerance: float = 0.2) -> list[int]:
    """Indices of candidates that differ, the best of each group.

    Args:
        candidates: (S, C, H, W).
        scores: (S,), lower is better: which one of a group is kept.
        tolerance: two candidates are alike if their distance is below this share of the largest of their norms and
            sqrt(C H W), the norm of the noise.

    Returns:
        Indices in the order of their scores.

    >>> near = torch.zeros(3, 1, 2, 2)
    >>> near[2] = 5.0
    >>> distinct(near, torch.tensor([0.3, 0.1, 0.2]))
    [1, 2]
    """
    flat = candidates.flatten(1).double()
    scale = flat.norm(dim=1).clamp(min=flat.shape[1] ** 0.5)
    kept: list[int] = []
    for index in scores.argsort(stable=True).tolist():
        alike = (
            float((flat[index] - flat[other]).norm()) < tolerance * float(max(scale[index], scale[other]))
            for other in kept
        )
        if not any(alike):
            kept.append(index)
    return kept
