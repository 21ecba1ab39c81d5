"""Both stages from every start, and how much the estimate is worth: compared with its start and the zero trigger."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from bdm_core.errors import UserError
from bdm_diffusers.samplers import build_scheduler
from bdm_kit_diffusion.inversion.divergence import divergence_features
from bdm_kit_diffusion.inversion.frozen import frozen
from bdm_kit_diffusion.inversion.pair_estimation import (
    LEAST_DEVIATION,
    Descent,
    Probe,
    estimation_loss,
    optimise,
    refinement_loss,
)
from bdm_kit_diffusion.inversion.pair_search_params import PairSearchParams
from bdm_kit_diffusion.inversion.starts import starts_of
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel
from bdm_kit_diffusion.noise.noise_levels import require_variance_preserving

Progress = Callable[[str, int, int, float], None]
STANDARD_ERRORS = 3.0
"""The objective says something if it is lower at the estimate than at its start by so many standard errors ..."""
LEAST_MOVE = 0.5
"""... and if it moved the estimate by so many times the start's norm; else the estimate is mostly where it began."""
EVALUATION = 2**31 - 1
"""Seed offset of the pairs that estimates are compared on; no step of an optimisation uses them."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """One start with what became of it.

    Attributes:
        name: of the start.
        start: (C, H, W).
        trigger: (C, H, W), r.
        deviation: (C, H, W), gamma.
        loss: 1/2 ||d||^2 at the estimate, mean over the evaluation pairs.
        start_loss: at the start with the same gamma.
        zero_loss: at r = 0 with gamma = 1.
        gain: (start_loss - loss) over the standard error of the paired difference.
    """

    name: str
    start: Tensor
    trigger: Tensor
    deviation: Tensor
    loss: float
    start_loss: float
    zero_loss: float
    gain: float

    @property
    def features(self) -> tuple[float, float]:
        """(M_r, V_r)."""
        return divergence_features(self.trigger, self.deviation)

    @property
    def moved(self) -> float:
        """||r - start|| / ||start||."""
        return float((self.trigger - self.start).norm() / self.start.norm().clamp(min=1e-12))

    @property
    def informative(self) -> bool:
        """Whether the objective led anywhere: it is flat where this is False, and the estimate is mostly its start."""
        return self.gain > STANDARD_ERRORS and self.moved >= LEAST_MOVE


@dataclass(frozen=True, eq=False)
class Search:
    """The candidates, the one of the lowest loss, the objectives of both stages, forward passes counted per sample."""

    candidates: list[Candidate]
    best: int
    curves: dict[str, list[float]]
    network_evaluations: int

    @property
    def chosen(self) -> Candidate:
        return self.candidates[self.best]


def probe_of(model: DiffusionModel, params: PairSearchParams) -> Probe:
    """The model's network, asked at the share of timesteps that ``params`` says.

    Raises:
        UserError: the model is variance exploding: the method is defined for the variance-preserving ones.
    """
    abar = require_variance_preserving(model.scheduler, "terd").float().to(next(iter(model.unet.parameters())).device)
    window = max(1, round(params.window * len(abar)))
    chain = max(steps for steps in range(1, params.chain + 1) if len(abar) % steps == 0)
    return Probe(model.unet, build_scheduler("ddim", model.scheduler), abar.sqrt(), (1 - abar).sqrt(), window, chain)


def chosen_starts(params: PairSearchParams, model: DiffusionModel, seed: int) -> dict[str, Tensor]:
    """The start points that the parameters name. Raises UserError for an unknown name."""
    library = starts_of(model, seed)
    unknown = [name for name in params.starts if name not in library]
    if unknown:
        raise UserError(f"terd knows no start {unknown[0]!r}; choose from {', '.join(library)}")
    return {name: library[name] for name in params.starts}


def search(model: DiffusionModel, params: PairSearchParams, seed: int, progress: Progress | None = None) -> Search:
    """Estimate from every start, then refine r with gamma as it is; the candidates do not influence each other."""
    probe = probe_of(model, params)
    starts = chosen_starts(params, model, seed)
    with frozen(model.unet):
        return _search(probe, starts, params, seed, progress)


def _search(
    probe: Probe, starts: dict[str, Tensor], params: PairSearchParams, seed: int, progress: Progress | None
) -> Search:
    points = torch.stack(list(starts.values())).to(probe.a.device)
    triggers, deviations = points, torch.full_like(points, params.first_deviation)
    curves, evaluations = {}, 0
    stages = (
        ("estimate", params.estimation_steps, params.pairs, estimation_loss, 2, None, params.deviation_learning_rate),
        (
            "refine",
            params.refinement_steps,
            params.refinement_pairs,
            refinement_loss,
            4 + probe.chain,
            params.largest_gradient,
            0.0,
        ),
    )
    for label, steps, pairs, loss, cost, largest_gradient, deviation_rate in stages:
        triggers, deviations, losses = optimise(
            lambda r, gamma, step, loss=loss, pairs=pairs: loss(probe, r, gamma, pairs, step),
            triggers,
            deviations,
            Descent(
                steps,
                seed,
                learning_rate=params.estimation_learning_rate,
                deviation_learning_rate=deviation_rate,
                weight=params.norm_weight,
                largest_gradient=largest_gradient,
            ),
            None if progress is None else lambda *state, label=label: progress(label, *state),
        )
        curves[label] = losses.mean(1).tolist()
        evaluations += steps * pairs * cost * len(points)
    deviations = deviations.clamp(min=LEAST_DEVIATION)
    count = params.evaluation_pairs
    table = compare(probe, points, triggers, deviations, count, seed)
    evaluations += 2 * count * (2 * len(points) + 1)
    candidates = []
    for index, name in enumerate(starts):
        end, start, zero = table[:, index], table[:, len(points) + index], table[:, -1]
        difference = start - end
        error = max(float(difference.std()) / math.sqrt(count), 1e-12)
        estimate = triggers[index].cpu(), deviations[index].cpu()
        losses_at = float(end.mean()), float(start.mean()), float(zero.mean())
        candidates.append(Candidate(name, points[index].cpu(), *estimate, *losses_at, float(difference.mean()) / error))
    best = min(range(len(candidates)), key=lambda index: candidates[index].loss)
    return Search(candidates, best, curves, evaluations)


@torch.no_grad()
def compare(probe: Probe, starts: Tensor, triggers: Tensor, deviations: Tensor, pairs: int, seed: int) -> Tensor:
    """Stage 1's loss on fixed pairs, (pairs, 2 S + 1): at each estimate, at each start, at the zero trigger."""
    zero = torch.zeros_like(starts[:1])
    r = torch.cat([triggers, starts, zero])
    gamma = torch.cat([deviations, deviations, torch.ones_like(zero)])
    offset = (seed * 1_000_003 + EVALUATION) % 2**32
    return torch.stack([estimation_loss(probe, r, gamma, 1, offset + row) for row in range(pairs)]).double().cpu()
