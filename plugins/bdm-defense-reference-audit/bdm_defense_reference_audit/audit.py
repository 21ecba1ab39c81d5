"""The whole comparison of one model with its reference: directions, screening, refinement, judgement."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bdm_defense_reference_audit.difference import Direction, directions
from bdm_defense_reference_audit.plugin import ReferenceAuditParams
from bdm_defense_reference_audit.response import Response, Shift, refine, respond
from bdm_kit_diffusion.coefficients import Solver
from bdm_kit_diffusion.inversion import distinct
from bdm_kit_diffusion.models import DiffusionModel
from bdm_kit_diffusion.samplers import default_steps, plain_sampler

OnStep = Callable[[str, int, int, float | None], None]
SOLVERS: tuple[Solver, ...] = ("sde", "ode")
COLLAPSED = 1.0
"""From this collapse on, a shift counts as one that leads to one image: they are e times more alike than usual."""


@dataclass(frozen=True, eq=False)
class Audit:
    """What the comparison found.

    Attributes:
        directions: where the two networks differ on wide noise.
        screened: the responses of short chains to every shift, before any optimisation.
        judged: the responses of full chains, from fresh noise, to the shifts that went on.
        network_evaluations: forward passes of both networks, counted per sample.
    """

    directions: list[Direction]
    screened: list[Response]
    judged: list[Response]
    network_evaluations: int

    @property
    def score(self) -> float:
        """The largest divergence of a judged response."""
        return max(item.divergence for item in self.judged)

    @property
    def strangest(self) -> Response:
        """The response with the largest divergence."""
        return max(self.judged, key=lambda item: item.divergence)

    @property
    def chosen(self) -> Response:
        """The response that shows a trigger best: the largest collapse, or, where nothing collapses, divergence."""
        most = max(self.judged, key=lambda item: item.collapse)
        return most if most.collapse > COLLAPSED else self.strangest


def audit(
    suspect: DiffusionModel,
    reference: DiffusionModel,
    params: ReferenceAuditParams,
    seed: int,
    device: str,
    on_step: OnStep | None = None,
) -> Audit:
    """Compare a model with its reference.

    Args:
        suspect: the model to judge.
        reference: what it was made from.
        params: of the defense.
        seed: of all noise.
        device: of both networks.
        on_step: told (label, done, total, value) of the progress.
    """

    def told(label: str) -> Callable[[int, int], None] | None:
        return None if on_step is None else lambda done, total: on_step(label, done, total, None)

    lines, evaluations = directions(suspect, reference, params, seed, device, told("compare"))
    shifts = shifts_along(lines, params.norms)
    screened: list[Response] = []
    judged: list[Response] = []
    for solver, steps in zip(SOLVERS, params.screening_steps, strict=True):
        full = default_steps(plain_sampler(suspect.scheduler, solver), suspect.timesteps)
        found, spent = respond(
            suspect, reference, shifts, solver, steps=fitting_steps(steps, suspect.timesteps),
            samples=params.screening_samples, seed=seed, device=device, on_step=told(f"screen ({solver})"),
        )  # fmt: skip
        screened, evaluations = screened + found, evaluations + spent
        chosen = choose(found, params.candidates)
        if solver == "ode":
            moved, spent = refine(
                suspect, chosen, chain=fitting_steps(params.refinement_chain, suspect.timesteps),
                steps=params.refinement_steps, learning_rate=params.refinement_learning_rate,
                samples=params.screening_samples, seed=seed + 1, device=device, on_step=told("refine"),
            )  # fmt: skip
            chosen, evaluations = chosen + moved, evaluations + spent
        found, spent = respond(
            suspect, reference, chosen, solver, steps=full, samples=params.samples, seed=seed,
            device=device, first_index=params.screening_samples, on_step=told(f"judge ({solver})"),
        )  # fmt: skip
        judged, evaluations = judged + found, evaluations + spent
    return Audit(lines, screened, judged, evaluations)


def shifts_along(lines: Sequence[Direction], norms: Sequence[float]) -> list[Shift]:
    """Both signs of every direction at every root mean square."""
    found = []
    for line in lines:
        values = math.sqrt(line.vector.numel())
        for sign in (1.0, -1.0):
            for norm in norms:
                found.append(Shift(sign * norm * values * line.vector, f"{line.name}, x {sign * norm:g}"))
    return found


def choose(found: Sequence[Response], count: int) -> list[Shift]:
    """Shifts of the largest collapse, of the largest signed and of the largest divergence, ``count`` of each.

    Shifts that are alike are taken once.
    """
    keys: tuple[Callable[[Response], float], ...] = (
        lambda item: item.collapse, lambda item: item.signed, lambda item: item.divergence
    )  # fmt: skip
    ranks = torch.full((len(found),), float(len(found)))
    for key in keys:
        for rank, index in enumerate(sorted(range(len(found)), key=lambda i: -key(found[i]))[:count]):
            ranks[index] = min(float(ranks[index]), rank)
    some = [index for index in range(len(found)) if ranks[index] < len(found)]
    tensors = torch.stack([found[index].shift.tensor for index in some])
    return [found[some[index]].shift for index in distinct(tensors, ranks[some])]


def fitting_steps(steps: int, timesteps: int) -> int:
    """The largest number of steps up to ``steps`` that divides the model's timesteps."""
    return max(d for d in range(1, min(steps, timesteps) + 1) if timesteps % d == 0)


def cosine(one: Tensor, other: Tensor) -> float:
    """Of the angle between two tensors; 0 if either is zero."""
    scale = float(one.double().norm() * other.double().norm())
    return float((one.double() * other.double()).sum()) / scale if scale else 0.0
