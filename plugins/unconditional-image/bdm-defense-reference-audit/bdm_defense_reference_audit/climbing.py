"""Climbing to where the two networks differ most.

Following (:mod:`bdm_defense_reference_audit.following`) needs a start that overlaps with the trigger, and looks at the
last timestep, where the best predictors of a deterministic backdoor and of a clean model are equal. At a middle one
they are not: given the trigger, the backdoor answers that the image is its target y, and the reference that it is some
image x_0, so that M - B = -(a / s) (y - x_0), with BadDiffusion's shift y - (1 - a) r in place of y. A backdoor on
narrow noise (TrojDiff, Chen et al., 2303.05762) differs at every timestep, by (1 - gamma) eps - mu, but on narrow noise
only. Hence the mean squared difference

    D(tau) = E_eps || M(s_t (c eps + tau), t) - B(s_t (c eps + tau), t) ||^2

is raised by Adam along log D, for wide and narrow noise c and several timesteps, over shifts tau of one norm, from the
directions of the comparison and random ones. Clean models have maxima too: a high difference is only a place to look,
and what counts is whether the images agree there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from bdm_defense_reference_audit.difference import Direction
from bdm_defense_reference_audit.pair import Pair
from bdm_defense_reference_audit.params import ReferenceAuditParams
from bdm_diffusers.sampling import draw_noise
from bdm_kit_diffusion.inversion.frozen import frozen
from bdm_kit_diffusion.inversion.trigger_inversion import distinct
from bdm_kit_diffusion.noise.noise_levels import noise_path

SMALLEST = 1e-8
"""Added to D: below it two networks are equal."""


def climb(
    pair: Pair,
    starts: Sequence[Direction],
    place: tuple[float, float],
    params: ReferenceAuditParams,
    on_step: Callable[[int, int], None] | None = None,
) -> tuple[list[Direction], int]:
    """The directions of the largest differences that are reached, the first one the largest.

    Args:
        pair: the models to compare.
        starts: where to begin, with both signs; random directions come beside them.
        place: standard deviation of the noise, in units of the usual noise, and timestep as a share of T.
        params: ``climbing_norm``, ``climbing_steps``, ``climbing_images``, ``climbing_random``, ``climbed``.
        on_step: told (done, total) steps.

    Returns:
        Directions with their sign, the root mean square of the difference and the share of its energy that the mean
        difference has as ``agreement``; and the forward passes of both networks, counted per sample.
    """
    width, level = place
    shape, count = pair.suspect.shape, params.climbing_images
    timestep = max(0, min(pair.suspect.timesteps - 1, round(level * pair.suspect.timesteps) - 1))
    length = params.climbing_norm * math.sqrt(math.prod(shape))
    lines = torch.stack([line.vector for line in starts])
    some = draw_noise(params.climbing_random, shape, pair.seed)
    tau = on_sphere(torch.cat([lines, -lines, some]), length).to(pair.device).requires_grad_(True)
    noise = draw_noise((params.climbing_steps + 1) * count // 2, shape, pair.seed).split(count // 2)
    optimizer = torch.optim.Adam([tau], lr=params.climbing_learning_rate)
    with frozen(pair.suspect.unet), frozen(pair.reference.unet):
        for step in range(params.climbing_steps):
            size = gaps(pair, tau, width * noise[step], timestep).square().flatten(1).mean(1)
            optimizer.zero_grad()
            (-(torch.nan_to_num(size, posinf=0.0) + SMALLEST).log().sum()).backward()
            if tau.grad is not None:
                tau.grad.nan_to_num_()
            optimizer.step()
            with torch.no_grad():
                tau.copy_(on_sphere(tau, length))
            if on_step is not None:
                on_step(step + 1, params.climbing_steps)
        with torch.no_grad():
            last = torch.nan_to_num(gaps(pair, tau, width * noise[-1], timestep), posinf=0.0, neginf=0.0).cpu()
    found, energy = tau.detach().cpu(), last.square().flatten(1).mean(1)
    shares = last.mean(1).square().flatten(1).mean(1) / energy.clamp(min=1e-24)
    best = distinct(found, -energy)[: params.climbed]
    name = f"climbed at width {width:g}, t = {timestep}"
    directions = [
        Direction(f"{name}, {rank + 1}", found[index] / length, math.sqrt(float(energy[index])), float(shares[index]))
        for rank, index in enumerate(best)
    ]
    return directions, 2 * len(found) * count * (params.climbing_steps + 1)


def gaps(pair: Pair, tau: Tensor, half: Tensor, timestep: int) -> Tensor:
    """M - B at every shift of ``tau`` (K, C, H, W) plus ``half`` (N / 2, C, H, W) and its negative: (K, N, C, H, W)."""
    half = half.to(tau.device)
    inputs = (torch.cat([half, -half])[None] + tau[:, None]).flatten(0, 1)
    x = float(noise_path(pair.suspect.scheduler).s[timestep]) * inputs
    times = torch.full((len(x),), timestep, device=x.device)
    difference: Tensor = pair.suspect.unet(x, times).sample - pair.reference.unet(x, times).sample
    return difference.float().unflatten(0, (len(tau), -1))


def on_sphere(tau: Tensor, length: float) -> Tensor:
    """``tau`` (K, C, H, W), each scaled to this norm."""
    return tau * (length / tau.flatten(1).norm(dim=1).clamp(min=1e-12).view(-1, 1, 1, 1))
