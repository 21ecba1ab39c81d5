"""Where a suspect and its reference differ, on noise that is wider than usual.

At a late timestep a network is asked about x = s_t z. Fine-tuned on clean images only, it answers there as the
reference does: d(x) = M(x, t) - B(x, t) is small and has no direction of its own. A backdoor changes the answer in the
half-space nearer to the trigger r than to 0, <z, r> > ||r||^2 / 2. Usual noise gets there with the probability
Phi(-||r|| / 2), that is never; z = c eps with Phi(-||r|| / (2 c)): for ||r|| = 8 and c = 3 that is 9 % of the noise
images. There d(x) points along r (Elijah's equation, An et al., 2312.00050, gives M - B = (lambda - 1) r at t = T), so
the images with the largest ||d|| give its line, and their mean, weighted by ||d||, a point on its side.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from bdm_defense_reference_audit.pair import Pair
from bdm_defense_reference_audit.params import ReferenceAuditParams
from bdm_diffusers.sampling import draw_noise
from bdm_kit_diffusion.noise.noise_levels import noise_path

BATCH = 256


@dataclass(frozen=True, eq=False)
class Direction:
    """A line on which a trigger may lie.

    Attributes:
        name: where it comes from.
        vector: (C, H, W), of norm 1; its sign is not known.
        difference: mean norm of d over the noise images of the tail, per root of the number of values.
        agreement: mean |cos| of their d with the direction that they share: 1 if all are on one line.
    """

    name: str
    vector: Tensor
    difference: float
    agreement: float


@torch.inference_mode()
def differences(pair: Pair, noise: Tensor, timestep: int) -> Tensor:
    """d(s_t z) for every z of ``noise`` (N, C, H, W), on the CPU; not finite values count as 0."""
    scale = float(noise_path(pair.suspect.scheduler).s[timestep])
    found = []
    for part in noise.split(BATCH):
        x = scale * part.to(pair.device)
        times = torch.full((len(x),), timestep, device=pair.device)
        found.append((pair.suspect.unet(x, times).sample - pair.reference.unet(x, times).sample).float().cpu())
    return torch.nan_to_num(torch.cat(found), posinf=0.0, neginf=0.0)


def directions(
    pair: Pair, params: ReferenceAuditParams, on_step: Callable[[int, int], None] | None = None
) -> tuple[list[Direction], int]:
    """Two directions for each of ``levels``, and the forward passes of both networks, counted per sample."""
    half = draw_noise(params.noise_images // 2, pair.suspect.shape, pair.seed)
    noise = torch.cat([dispersion * torch.cat([half, -half]) for dispersion in params.dispersions])
    found, evaluations = [], 0
    for number, level in enumerate(params.levels):
        timestep = max(0, min(pair.suspect.timesteps - 1, round(level * pair.suspect.timesteps) - 1))
        gaps = differences(pair, noise, timestep)
        evaluations += 2 * len(noise)
        found += read_directions(gaps, noise, params.tail, f"t = {timestep}")
        if on_step is not None:
            on_step(number + 1, len(params.levels))
    return found, evaluations


def read_directions(gaps: Tensor, noise: Tensor, tail: float, name: str) -> list[Direction]:
    """The directions that differences d (N, C, H, W) on ``noise`` (N, C, H, W) have.

    ``line``: the first right singular vector of the tail's d, each scaled to norm 1. ``side``: the covariance of ||d||
    with the noise, which also tells the sign where only one side of the line is unusual.
    """
    flat, z = gaps.flatten(1).double(), noise.flatten(1).double()
    size = flat.norm(dim=1)
    count = max(2, round(tail * len(flat)))
    extreme = size.argsort(descending=True, stable=True)[:count]
    unit = flat[extreme] / size[extreme, None].clamp(min=1e-12)
    line = torch.linalg.svd(unit, full_matrices=False)[2][0]
    side = ((size - size.mean())[:, None] * z).mean(0)
    difference = float(size[extreme].mean()) / flat.shape[1] ** 0.5
    agreement = float((unit @ line).abs().mean())
    return [
        Direction(
            f"{kind}, {name}",
            (vector / vector.norm().clamp(min=1e-12)).view(gaps.shape[1:]).float(),
            difference,
            agreement,
        )
        for kind, vector in (("line", line), ("side", side))
    ]
