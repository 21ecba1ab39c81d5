"""The inversion over all starts and all lambda."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from bdm_diffusers.sampling import draw_noise
from bdm_kit_diffusion.inversion.shift_search_params import ShiftSearchParams
from bdm_kit_diffusion.inversion.starts import starts_of
from bdm_kit_diffusion.inversion.trigger_inversion import InversionOptions, distinct, invert
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel
from bdm_kit_diffusion.noise.noise_levels import initial_scale

OnStep = Callable[[int, int, float], None]
FLAT_SCALE = 0.75
"""From this lambda on clean models nearly solve the equation everywhere, as M(x, T-1) is about x: it proves nothing."""
TRIVIAL = 0.1
"""Below this root mean square, a candidate is the solution tau = 0 that every model has."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """One result of the inversion.

    Attributes:
        name: of its start.
        scale: lambda.
        start: (C, H, W).
        trigger: (C, H, W), tau.
        loss: the objective where the inversion ended, mean over the image; nan without steps.
        start_loss: the objective at the start; nan without steps.
        stretch: tau is so many times what the inversion found.
    """

    name: str
    scale: float
    stretch: float
    start: Tensor
    trigger: Tensor
    loss: float
    start_loss: float

    @property
    def norm(self) -> float:
        """||tau||_2; the noise has sqrt(C H W)."""
        return float(self.trigger.double().norm())

    @property
    def residual(self) -> float:
        """The objective over lambda |tau|, means over the image; near 0 for a solution, near 1 for none."""
        return self.loss * self.stretch / max(self.scale * float(self.trigger.abs().mean()), 1e-6)

    @property
    def start_residual(self) -> float:
        """The same where the inversion started: about (1 - lambda) / lambda on a clean network. Infinite if unknown."""
        if math.isnan(self.start_loss):
            return math.inf
        return self.start_loss / max(self.scale * float(self.start.abs().mean()), 1e-6)


@dataclass(frozen=True, eq=False)
class Search:
    """Candidates that differ, how many starts there were, the mean objective of each step, forward passes spent."""

    candidates: list[Candidate]
    starts: int
    curve: list[float]
    network_evaluations: int


def inversion_noise(shape: tuple[int, int, int], count: int, seed: int, antithetic: bool) -> Tensor:
    """The fixed noise batch (count, C, H, W). Antithetic: noise and its negative, so that the mean is exactly 0.

    With independent noise the mean's error, 1/sqrt(count) in each value, moves every solution by 1/lambda times that.
    """
    if not antithetic:
        return draw_noise(count, shape, seed)
    half = draw_noise(count // 2, shape, seed)
    return torch.stack([half, -half], 1).flatten(0, 1)


def search(
    model: DiffusionModel, params: ShiftSearchParams, seed: int, device: str, on_step: OnStep | None = None
) -> Search:
    """Invert from every start with every lambda: first coarsely, then what has not merged, with more noise."""
    starts = starts_of(model, seed, library=params.starts == "library")
    names, points = list(starts), torch.stack(list(starts.values()))
    noise = inversion_noise(model.shape, max(params.noise_batch, params.screening_batch), seed, params.antithetic)
    noise = noise.to(device)
    total, done = sum(params.inversion_steps), 0
    found: list[Candidate] = []
    curve: list[float] = []
    evaluations = 0

    def report(step: int, steps: int, loss: float) -> None:
        curve.append(loss)
        if on_step is not None:
            on_step(done + step, total, loss)

    def run(values: Tensor, scale: float, batch: int, steps: int) -> tuple[Tensor, Tensor]:
        nonlocal done, evaluations
        scales = torch.full((len(values),), scale)
        result = invert(
            model.unet,
            values,
            scales,
            noise[:batch],
            model.timesteps - 1,
            InversionOptions(steps, params.inversion_learning_rate, input_scale=initial_scale(model.scheduler)),
            report,
        )
        done += steps
        evaluations += result.network_evaluations
        return result.triggers, result.losses

    for scale, steps in zip(params.scales, params.inversion_steps, strict=True):
        values, losses, kept = points, torch.full((1, len(names)), float("nan")), list(range(len(names)))
        first = losses[0]
        for batch, part in stages(params, steps):
            values, losses = run(values, scale, batch, part)
            first = losses[0] if len(first) == len(kept) and bool(first.isnan().all()) else first
            groups = distinct(values, losses[-1])
            values, losses, kept = values[groups], losses[:, groups], [kept[index] for index in groups]
        for index, start in enumerate(kept):
            loss, start_loss = float(losses[-1, index]), float(first[start])
            size = rms(values[index])
            for stretch in params.stretches if size > TRIVIAL and scale < FLAT_SCALE else (1.0,):
                tau = stretch * values[index]
                found.append(Candidate(names[start], scale, stretch, points[start], tau, loss, start_loss))
    near = [item for item in found if rms(item.trigger) <= params.largest_rms]
    found = near or [min(found, key=lambda item: item.norm)]
    return Search(found, len(names), curve, evaluations)


def rms(image: Tensor) -> float:
    """Root mean square over all values."""
    return float(image.square().mean().sqrt())


def stages(params: ShiftSearchParams, steps: int) -> list[tuple[int, int]]:
    """(noise images, steps) of the coarse and the fine part."""
    screening = min(params.screening_steps, steps)
    parts = [(params.screening_batch, screening), (params.noise_batch, steps - screening)]
    return [(batch, part) for batch, part in parts if part]
