"""Following the difference of the two networks to the trigger.

Where a shift tau overlaps with the trigger r, part of the noise around it, s_t (c eps + tau), is answered by the
backdoor, and there the difference of the networks is along r: for predictors of the noise M - B = (lambda - 1) r in
Elijah's notation (An et al., 2312.00050), and (1 - gamma) eps - r for TrojDiff (Chen et al., 2303.05762), whose noise
is narrower than usual (gamma < 1) and whose backdoor therefore answers narrow noise only. So the mean difference at
one shift is the direction of the next one,

    g = E_eps[ M(s_t (c eps + tau), t) - B(s_t (c eps + tau), t) ],     tau <- +- rho sqrt(n) g / ||g||,

with the sign at which the mean difference is the larger one. Each round raises the overlap with r, as a larger overlap
lets more of the noise in, until tau is on r's line, on its side. It is a power iteration on the difference; no gradient
is taken, nothing is optimised. On a clean fine-tuning it ends somewhere too, where both models sample alike. For a
deterministic backdoor lambda is 1, and the best predictors do not differ at the last timestep; trained ones do, as a
reference that never saw so large a shift answers it badly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from bdm_defense_reference_audit.difference import Direction, differences
from bdm_defense_reference_audit.pair import Pair
from bdm_defense_reference_audit.params import ReferenceAuditParams
from bdm_diffusers.sampling import draw_noise


def follow(
    pair: Pair,
    starts: Sequence[Direction],
    width: float,
    norm: float,
    params: ReferenceAuditParams,
    on_step: Callable[[int, int], None] | None = None,
) -> tuple[Direction, int]:
    """The direction with the largest mean difference that the iteration reaches from both signs of every start.

    Args:
        pair: the models to compare.
        starts: where to begin.
        width: standard deviation c of the noise, in units of the usual noise.
        norm: root mean square rho of the shifts.
        params: ``following_steps`` and ``following_images``.
        on_step: told (done, total) steps.

    Returns:
        The direction, whose sign is the one found, with the root mean square of the mean difference as ``difference``
        and the share of the differences' energy that their mean has as ``agreement``; and the forward passes of both
        networks, counted per sample.
    """
    half = width * draw_noise(params.following_images // 2, pair.suspect.shape, pair.seed)
    noise, values = torch.cat([half, -half]), math.sqrt(half[0].numel())
    vectors = torch.stack([line.vector for line in starts])
    vectors = torch.cat([vectors, -vectors])
    means, shares = mean_differences(pair, noise, norm * values * vectors)
    evaluations, count = 2 * len(noise) * len(vectors), len(vectors)
    for step in range(params.following_steps):
        lines = means / norms_of(means).clamp(min=1e-12)
        both = torch.cat([lines, -lines])
        found, energy = mean_differences(pair, noise, norm * values * both)
        evaluations += 2 * len(noise) * len(both)
        size = norms_of(found).flatten()
        better = torch.where(size[:count] >= size[count:], 0, count) + torch.arange(count)
        vectors, means, shares = both[better], found[better], energy[better]
        if on_step is not None:
            on_step(step + 1, params.following_steps)
    best = int(norms_of(means).argmax())
    size = float(norms_of(means[best : best + 1])) / values
    name = f"followed from {norm:g} at width {width:g}"
    return Direction(name, vectors[best].float(), size, float(shares[best])), evaluations


def mean_differences(pair: Pair, noise: Tensor, shifts: Tensor) -> tuple[Tensor, Tensor]:
    """Mean over ``noise`` (N, C, H, W) of the difference at the last timestep, for each of ``shifts`` (K, C, H, W).

    Also the squared norm of each mean over the mean squared norm, (K,): 1 if all differences are equal.
    """
    inputs = (noise[None] + shifts[:, None]).flatten(0, 1)
    gaps = differences(pair, inputs, pair.suspect.timesteps - 1).unflatten(0, (len(shifts), -1))
    means = gaps.mean(1)
    energy = gaps.square().flatten(2).sum(2).mean(1).clamp(min=1e-24)
    return means, means.square().flatten(1).sum(1) / energy


def norms_of(tensors: Tensor) -> Tensor:
    """Norms of (K, C, H, W) as (K, 1, 1, 1)."""
    return tensors.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
