"""Baselines of detection that need no optimisation: what a detector must beat to be worth its name.

For inputs: is the start point of an inversion, used as if it were the trigger, already enough (with a dark background
in most triggers, a dark constant is), and does the mean pixel give the input away? For models: are the samples from a
start point alone alike? The zero trigger is the third baseline: it scores 0 everywhere and flags nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import torch
from torch import Tensor

from bdm_diffusers.samplers import build_scheduler, default_steps
from bdm_diffusers.sampling import OnStep, SamplingOptions, draw_noise, sample
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel
from bdm_torch.diversity import pixel_distances, total_variation, uniformity

LEAST_RATIO = 1e-4
"""Below this, sets count as equally uniform."""


def likelihood_ratio(inputs: Tensor, trigger: Tensor, deviation: Tensor | float = 1.0) -> Tensor:
    """log N(x; trigger, deviation^2) - log N(x; 0, I) of each input (N, C, H, W): (N,), float64.

    Above 0 the input is likelier under the trigger. With deviation 1 this is <x, r> - ||r||^2 / 2: for noise around r
    it is normal with mean ||r||^2 / 2 and standard deviation ||r||, for clean noise with mean -||r||^2 / 2, so that
    both error rates are Phi(-||r|| / 2). The zero trigger gives 0 for every input.

    Args:
        inputs: initial noise.
        trigger: (C, H, W).
        deviation: of the noise under the trigger, positive; a number or (C, H, W).
    """
    x, mean = inputs.double(), trigger.double()
    spread = torch.as_tensor(deviation, dtype=torch.float64).expand_as(mean)
    density = -(((x - mean) / spread) ** 2) / 2 - spread.log() + x**2 / 2
    return density.flatten(1).sum(1)


def mean_pixel(inputs: Tensor) -> Tensor:
    """|mean of all values| sqrt(C H W) of each input (N, C, H, W): (N,), half-normal for clean noise.

    It sees every trigger whose mean is not 0, and none other.
    """
    flat = inputs.double().flatten(1)
    return flat.mean(1).abs() * math.sqrt(flat.shape[1])


def mean_pixel_threshold(false_positive_rate: float) -> float:
    """Clean noise exceeds this :func:`mean_pixel` with the given probability, exactly."""
    return NormalDist().inv_cdf(1 - false_positive_rate / 2)


def input_baselines(inputs: Tensor, starts: dict[str, Tensor], false_positive_rate: float) -> dict[str, dict[str, Any]]:
    """Name -> threshold, share flagged, scores: for the report.

    Args:
        inputs: (N, C, H, W), the suspects.
        starts: (C, H, W) each, the start points of the inversion.
        false_positive_rate: of the mean-pixel test; the likelihood ratios have the threshold 0.
    """
    found = {
        f"start point only: {name}": (likelihood_ratio(inputs, start) if bool(start.any()) else None, 0.0)
        for name, start in starts.items()
    }
    found["zero trigger"] = (None, 0.0)
    found["mean pixel"] = (mean_pixel(inputs), mean_pixel_threshold(false_positive_rate))
    return {name: _summary(scores, threshold, len(inputs)) for name, (scores, threshold) in found.items()}


def _summary(scores: Tensor | None, threshold: float, count: int) -> dict[str, Any]:
    values = torch.zeros(count, dtype=torch.float64) if scores is None else scores
    flagged = float((values > threshold).double().mean()) if count else 0.0
    return {"threshold": threshold, "flagged": flagged, "scores": [round(float(value), 6) for value in values]}


@dataclass(frozen=True)
class StartFeatures:
    """What a model generates from one start point alone.

    Attributes:
        start: its name.
        sampler: its name.
        uniformity_ratio: mean distance among the images over that from plain noise, at least 1e-4.
        total_variation_ratio: likewise.
        score: -log of the uniformity ratio; 0 for the zero trigger by definition.
    """

    start: str
    sampler: str
    uniformity_ratio: float
    total_variation_ratio: float

    @property
    def score(self) -> float:
        return -math.log(self.uniformity_ratio)


def start_features(
    model: DiffusionModel,
    starts: dict[str, Tensor],
    samplers: tuple[str, ...],
    *,
    samples: int,
    seed: int,
    device: str | torch.device = "cpu",
    on_step: OnStep | None = None,
) -> tuple[list[StartFeatures], int]:
    """Sample from eps + start and from eps alone, and compare how alike the images are.

    Args:
        model: its network is on ``device``.
        starts: (C, H, W) each.
        samplers: names; each takes its usual number of steps.
        samples: images from each start, at least 8.
        seed: of eps, which all starts share.
        on_step: told (done, total) network calls of one sampler.

    Returns:
        One entry a sampler and start, and the forward passes spent, counted per sample.
    """
    noise = draw_noise(samples, model.shape, seed)
    shifts = torch.stack([torch.zeros(model.shape), *starts.values()])
    inputs = (noise[None] + shifts[:, None]).flatten(0, 1).to(device)
    found, evaluations = [], 0
    for name in samplers:
        steps = default_steps(name, model.timesteps)
        scheduler = build_scheduler(name, model.scheduler)
        images = sample(
            model.unet, scheduler, inputs, steps=steps, seed=seed, options=SamplingOptions(256), on_step=on_step
        )
        evaluations += len(inputs) * steps
        sets = images.cpu().unflatten(0, (-1, samples))
        plain, variation = uniformity(pixel_distances(sets[0])), total_variation(sets[0])
        for start, images_of_start in zip(starts, sets[1:], strict=True):
            if images_of_start.isfinite().all():
                ratio = max(uniformity(pixel_distances(images_of_start)) / max(plain, 1e-12), LEAST_RATIO)
                variation_ratio = total_variation(images_of_start) / max(variation, 1e-12)
            else:  # images out of range are no sign of a backdoor
                ratio = variation_ratio = 1.0
            found.append(StartFeatures(start, name, ratio, variation_ratio))
    return found, evaluations
