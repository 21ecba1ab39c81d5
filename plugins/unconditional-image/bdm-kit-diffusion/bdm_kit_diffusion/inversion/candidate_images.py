"""What each candidate generates, and how diverse that is, next to what the same model generates from plain noise."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bdm_core.errors import UserError
from bdm_diffusers.samplers import build_scheduler, default_steps, fitting_samplers, solver_class
from bdm_diffusers.sampling import SamplingOptions, draw_noise, sample
from bdm_kit_diffusion.inversion.shift_search import FLAT_SCALE
from bdm_kit_diffusion.inversion.shift_search_params import ShiftSearchParams
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel
from bdm_torch.diversity import Distance, perceptual_distances, pixel_distances, total_variation, uniformity

SMALLEST_RATIO = 1e-4
"""Below this, sets count as equally uniform: 8-bit images would be identical."""
DISTANCES: dict[str, Distance] = {"pixel": pixel_distances, "lpips": perceptual_distances}


def require_distance(name: str) -> None:
    """Refuse a distance whose network is not installed, before it is needed.

    Raises:
        UserError: it is LPIPS, and torchvision is missing.

    >>> require_distance("pixel")
    """
    if name == "lpips" and importlib.util.find_spec("torchvision") is None:
        raise UserError("distance=lpips needs pip install 'bdm-torch[lpips]'")


@dataclass(frozen=True, eq=False)
class Generated:
    """Images from one candidate with one sampler.

    Attributes:
        sampler: its name.
        images: (N, C, H, W), for a trained network about in [-1, 1] but not clipped, on the CPU.
        uniformity: mean distance among them, trimmed.
        total_variation: mean over the images.
        uniformity_ratio: to the same from plain noise with the same sampler, at least 1e-4.
        total_variation_ratio: likewise.
    """

    sampler: str
    images: Tensor
    uniformity: float
    total_variation: float
    uniformity_ratio: float = 1.0
    total_variation_ratio: float = 1.0

    @property
    def score(self) -> float:
        """-log of the uniformity ratio: 0 as diverse as from plain noise, higher the more alike the images are."""
        return -math.log(self.uniformity_ratio)


def samplers_for(scale: float, samplers: Sequence[str]) -> list[str]:
    """The samplers that a backdoor of this lambda would be made for; all of them if there are none of that class.

    R_T = 1/2 keeps a poisoned path under ancestral sampling only, R_T = 1 under deterministic sampling only. The other
    class says nothing about such a solution, but far from its training it may well collapse on a clean network.
    """
    wanted = "sde" if scale < FLAT_SCALE else "ode"
    return [name for name in samplers if solver_class(name) == wanted] or list(samplers)


def steps_of(name: str, model: DiffusionModel, params: ShiftSearchParams) -> int:
    """Forward passes for one image."""
    return params.sampling_steps or default_steps(name, model.timesteps)


def generate(
    model: DiffusionModel,
    triggers: Tensor,
    scales: Sequence[float],
    params: ShiftSearchParams,
    seed: int,
    device: str,
    on_step: Callable[[int, int], None] | None = None,
) -> tuple[list[list[Generated]], int]:
    """Sample from eps + tau for every candidate and from eps alone, with the samplers for its lambda.

    Args:
        model: the suspect; its network on ``device``.
        triggers: (S, C, H, W).
        scales: lambda of each.
        params: samplers, number of images, distance.
        seed: of eps, which all candidates share.
        device: of the network.
        on_step: told (done, total) network calls over all samplers.

    Returns:
        For each candidate, one entry a sampler, relative to plain noise; and the forward passes spent.
    """
    noise = draw_noise(params.samples, model.shape, seed)
    found: list[list[Generated]] = [[] for _ in triggers]
    evaluations, samplers = 0, fitting_samplers(params.samplers, model.scheduler)
    for number, name in enumerate(samplers):
        chosen = [index for index, scale in enumerate(scales) if name in samplers_for(scale, samplers)]
        if not chosen:
            continue
        shifts = torch.cat([torch.zeros(1, *model.shape), triggers[chosen]])
        inputs = (noise[None] + shifts[:, None]).flatten(0, 1)
        images = sample(
            model.unet,
            build_scheduler(name, model.scheduler, corrector_steps=0),
            inputs.to(device),
            steps=steps_of(name, model, params),
            seed=seed,
            options=SamplingOptions(256),
            on_step=_counter(on_step, number, len(samplers)),
        )
        evaluations += len(inputs) * steps_of(name, model, params)
        sets = images.cpu().unflatten(0, (-1, params.samples))
        plain = measure(name, sets[0], DISTANCES[params.distance])
        for index, candidate in zip(chosen, sets[1:], strict=True):
            found[index].append(relative(measure(name, candidate, DISTANCES[params.distance]), plain))
    return found, evaluations


def measure(sampler: str, images: Tensor, distance: Distance) -> Generated:
    """The features of one set of images (N, C, H, W); a set that is not finite counts as no sign of a backdoor."""
    if not images.isfinite().all():
        return Generated(sampler, torch.nan_to_num(images), math.inf, math.inf)
    return Generated(sampler, images, uniformity(distance(images)), total_variation(images))


def relative(suspect: Generated, plain: Generated) -> Generated:
    """A set's features over those of the images from plain noise."""
    if not math.isfinite(suspect.uniformity):
        return Generated(suspect.sampler, suspect.images, suspect.uniformity, suspect.total_variation)
    spread = max(suspect.uniformity / max(plain.uniformity, 1e-12), SMALLEST_RATIO)
    variation = suspect.total_variation / max(plain.total_variation, 1e-12)
    return Generated(suspect.sampler, suspect.images, suspect.uniformity, suspect.total_variation, spread, variation)


def _counter(on_step: Callable[[int, int], None] | None, part: int, parts: int) -> Callable[[int, int], None] | None:
    if on_step is None:
        return None
    return lambda done, total: on_step(part * total + done, parts * total)
