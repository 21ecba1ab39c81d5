"""From all starts to the most suspicious pattern: screen the starts, invert from the best, judge on fresh noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from bdm_defense_diff_cleanse.inversion import Generate, Inverted, invert
from bdm_defense_diff_cleanse.params import DiffCleanseParams
from bdm_defense_diff_cleanse.similarity import cosines, mscr
from bdm_diffusers.samplers import build_scheduler, default_steps, solver_class
from bdm_diffusers.sampling import SamplingOptions, draw_noise, sample
from bdm_kit_diffusion.inversion.baselines import mean_pixel, mean_pixel_threshold
from bdm_kit_diffusion.inversion.frozen import frozen
from bdm_kit_diffusion.inversion.starts import starts_of
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel
from bdm_kit_diffusion.noise.noise_levels import require_variance_preserving

OnStep = Callable[[str, int, int, float | None], None]
BATCH = 256


@dataclass(frozen=True, eq=False)
class Candidate:
    """One inverted pattern.

    Attributes:
        start: name of its start.
        sampler: what its images were generated with.
        found: the inversion's result.
        score: MSCR of its images from fresh noise.
        start_score: MSCR of the start's images from the same fresh noise.
        images: (N, C, H, W), these images of the pattern, on the CPU.
        mean_pixel: share of the inputs with this pattern that the mean-pixel test flags.
    """

    start: str
    sampler: str
    found: Inverted
    score: float
    start_score: float
    images: Tensor
    mean_pixel: float


@dataclass(frozen=True, eq=False)
class Search:
    """All candidates of one model.

    Attributes:
        candidates: of all samplers, the best first.
        starts: number of starts that were screened.
        zero: MSCR of images from plain noise, by sampler.
        network_evaluations: forward passes, counted per sample.
    """

    candidates: list[Candidate]
    starts: int
    zero: dict[str, float]
    network_evaluations: int

    @property
    def best(self) -> Candidate:
        return self.candidates[0]


def black_box(model: DiffusionModel, sampler: str, steps: int, seed: int, device: str) -> Generate:
    """The model as something that turns shifted noises into images; ``model`` is on ``device``."""
    scheduler = build_scheduler(sampler, model.scheduler)

    def generate(shifts: Tensor, noise: Tensor) -> Tensor:
        inputs = (noise[None] + shifts[:, None].to(noise)).flatten(0, 1)
        with frozen(model.unet) as network:
            images = sample(
                network, scheduler, inputs.to(device), steps=steps, seed=seed, options=SamplingOptions(BATCH)
            )
        return images.cpu().unflatten(0, (len(shifts), len(noise)))

    return generate


def search(
    model: DiffusionModel, params: DiffCleanseParams, seed: int, device: str, on_step: OnStep | None = None
) -> Search:
    """Examine one model.

    Args:
        model: the suspect; its network on ``device``.
        params: of the defense.
        seed: of noises and random starts.
        device: of the network.
        on_step: told (label, done, total, loss).

    Raises:
        UserError: the model is variance exploding.
    """
    require_variance_preserving(model.scheduler, "diff-cleanse")
    starts = starts_of(model, seed, params.starts == "library")
    names, points = list(starts), torch.stack(list(starts.values())).clamp(-params.reach, params.reach)
    noise = draw_noise(2 * params.samples, model.shape, seed)
    fitting, fresh = noise[: params.samples], noise[params.samples :]
    candidates, zero, evaluations = [], {}, 0
    for sampler, epochs in zip(params.samplers, params.epochs, strict=True):
        steps = params.sampling_steps or default_steps(sampler, model.timesteps)
        generate = black_box(model, sampler, steps, seed, device)
        screened = generate(torch.cat([torch.zeros(1, *model.shape), points]), fitting)
        zero[sampler] = mscr(screened[0], params.similarity)
        order = sorted(range(len(names)), key=lambda index: suspicion(screened[index + 1], params), reverse=True)
        chosen = order[: params.candidates]
        label = f"invert with {sampler}"
        fewer = inverting_steps(sampler, steps, model.timesteps, params.inverting_share)
        quick = generate if fewer == steps else black_box(model, sampler, fewer, seed, device)
        report = (lambda done, total, loss, label=label: on_step(label, done, total, loss)) if on_step else None
        found, generated = invert(quick, points[chosen], fitting, epochs, params, report)
        shifts = torch.stack([item.shift for item in found])
        judged = generate(torch.cat([shifts, points[chosen]]), fresh)
        evaluations += steps * (screened.shape[0] * screened.shape[1] + judged.shape[0] * judged.shape[1])
        evaluations += fewer * generated
        for place, (index, item) in enumerate(zip(chosen, found, strict=True)):
            own, start = judged[place], judged[len(found) + place]
            flagged = mean_pixel(fresh + item.shift) > mean_pixel_threshold(params.false_positive_rate)
            candidates.append(
                Candidate(
                    names[index],
                    sampler,
                    item,
                    mscr(own, params.similarity),
                    mscr(start, params.similarity),
                    own,
                    float(flagged.double().mean()),
                )
            )
    candidates.sort(key=lambda item: (-item.score, -item.found.mscr, item.found.loss))
    return Search(candidates, len(names), zero, evaluations)


def inverting_steps(sampler: str, steps: int, timesteps: int, share: float | None) -> int:
    """Steps of a sampler while a pattern is inverted: the share of its usual number, in the model's grid, at least 1.

    Ancestral samplers keep all of theirs: their backdoors need the full chain.

    >>> [inverting_steps(name, steps, 100, 0.5) for name, steps in (("ddim", 20), ("ddpm", 100), ("ddim", 1))]
    [10, 100, 1]
    """
    if solver_class(sampler) != "ode" or share is None:
        return steps
    return max(number for number in range(1, max(1, round(share * steps)) + 1) if timesteps % number == 0)


def suspicion(images: Tensor, params: DiffCleanseParams) -> tuple[float, float]:
    """MSCR and mean cosine of a set (N, C, H, W), by which starts are ordered."""
    return mscr(images, params.similarity), float(cosines(images).mean())
