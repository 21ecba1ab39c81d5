"""Refool (Liu et al., ECCV 2020, arXiv 2007.02343): x' = (1 - w) x + w (k * r) with a reflected picture r and an
optical kernel k: a blur (out of focus) or two pulses (a ghost, from the back of a thick pane)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from bdm_attack_refool.params import RefoolParams
from bdm_attack_refool.pictures import reflected_pictures
from bdm_attack_refool.selection import best_pictures
from bdm_core.artifacts import Data
from bdm_core.context import Context
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.poison.poisoning import poison_training_rows, rule_of
from bdm_kit_classification.triggers.trigger import Phase, Trigger

LEAST_BLUR = 0.2
"""Of the largest blur; each sample's is drawn between."""
GHOST_WEIGHTS = (0.15, 0.5)
"""Weight of a ghost's first pulse; the second has the rest."""
DARKEST = 1e-6


@dataclass(frozen=True, eq=False)
class Reflection(Trigger):
    """A reflection of one of several pictures, drawn for each sample with its kernel.

    Attributes:
        pictures: uint8 (R, C, H, W).
        opacity: weight w of the reflection.
        ghost_share: of the reflections.
        blur: largest standard deviation, in pixels.
        shift: of a ghost's second pulse, at most, in whole pixels along each axis.
        gamma: pixels to this power are light.
    """

    pictures: Tensor
    opacity: float
    ghost_share: float
    blur: float
    shift: int
    gamma: float

    def apply(self, x: Tensor, phase: Phase, generator: torch.Generator | None = None) -> Tensor:
        """The same in both phases."""
        count = len(x)
        chosen = torch.randint(len(self.pictures), (count,), generator=generator)
        light = (self.pictures[chosen.to(self.pictures.device)].to(x) / 255) ** self.gamma
        ghosts = torch.rand(count, generator=generator) < self.ghost_share
        share = torch.rand(count, generator=generator)
        deviation = self.blur * (LEAST_BLUR + (1 - LEAST_BLUR) * share)
        first = GHOST_WEIGHTS[0] + (GHOST_WEIGHTS[1] - GHOST_WEIGHTS[0]) * share
        moves = torch.randint(1, self.shift + 1, (count, 2), generator=generator)
        reflected = light.clone()
        reflected[~ghosts] = out_of_focus(light[~ghosts], deviation[~ghosts])
        reflected[ghosts] = ghost(light[ghosts], first[ghosts], moves[ghosts])
        mixed = (1 - self.opacity) * x**self.gamma + self.opacity * reflected
        return (mixed.clamp_min(DARKEST) ** (1 / self.gamma)).clamp(0, 1) if self.gamma != 1 else mixed.clamp(0, 1)


def out_of_focus(light: Tensor, deviation: Tensor) -> Tensor:
    """Each picture (N, C, H, W) under a Gaussian of its own standard deviation (N,) in pixels; edges are repeated."""
    if not len(light):
        return light
    count, channels, height, width = light.shape
    reach = min(math.ceil(3 * float(deviation.max())), height - 1, width - 1)
    place = torch.arange(-reach, reach + 1).to(light)
    kernel = torch.exp(-(place**2) / (2 * deviation.to(light)[:, None].clamp_min(1e-3) ** 2))
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(channels, 0)
    flat = functional.pad(light, (reach,) * 4, mode="replicate").flatten(0, 1)[None]
    flat = functional.conv2d(flat, kernel[:, None, :, None], groups=count * channels)
    flat = functional.conv2d(flat, kernel[:, None, None, :], groups=count * channels)
    return flat[0].view(count, channels, height, width)


def ghost(light: Tensor, first: Tensor, moves: Tensor) -> Tensor:
    """Each picture with weight ``first`` (N,) and itself moved by ``moves`` (N, 2) pixels down and right with the rest.

    What was moved keeps the edge's values behind it.
    """
    count, channels, height, width = light.shape
    moves = moves.to(light.device)
    down = (torch.arange(height, device=light.device) - moves[:, :1]).clamp_min(0)
    right = (torch.arange(width, device=light.device) - moves[:, 1:]).clamp_min(0)
    each = torch.arange(count, device=light.device)[:, None, None, None]
    channel = torch.arange(channels, device=light.device)[:, None, None]
    weight = first.to(light)[:, None, None, None]
    return weight * light + (1 - weight) * light[each, channel, down[:, None, :, None], right[:, None, None, :]]


def poison(ctx: Context, params: RefoolParams, data: Data) -> Data:
    """Poisoned training rows; sealed in ``ctx.out / "data"``.

    Raises:
        UserError: the pictures cannot be read, the rate or the target is impossible.
    """
    shape: Any = data.meta["shape"]
    side = min(shape[1:])
    trigger = Reflection(
        pictures=reflected_pictures(params.pictures, params.count, shape, ctx.seed),
        opacity=params.opacity,
        ghost_share=params.ghost_share,
        blur=params.blur * side,
        shift=max(1, round(params.ghost_shift * side)),
        gamma=params.gamma,
    )
    if not params.selection_rounds:
        return poison_training_rows(ctx, params, data, trigger)
    samples = open_samples(data)
    best, reached = best_pictures(
        ctx,
        params,
        samples,
        rule_of(params, samples),
        trigger.pictures,
        lambda pictures: replace(trigger, pictures=pictures),
    )
    facts = {"reflections lead to the target": reached}
    return poison_training_rows(ctx, params, data, replace(trigger, pictures=best), facts=facts)
