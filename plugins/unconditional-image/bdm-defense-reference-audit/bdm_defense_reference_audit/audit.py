"""The whole comparison of one model with its reference: directions, screening, refinement, judgement."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from bdm_defense_reference_audit.climbing import climb
from bdm_defense_reference_audit.difference import Direction, directions
from bdm_defense_reference_audit.following import follow
from bdm_defense_reference_audit.pair import Pair
from bdm_defense_reference_audit.params import ReferenceAuditParams
from bdm_defense_reference_audit.response import Response, Shift, novelty, refine, repetition, respond, typical
from bdm_diffusers.coefficients import Solver
from bdm_diffusers.samplers import default_steps, plain_sampler
from bdm_kit_diffusion.inversion.frozen import frozen
from bdm_kit_diffusion.inversion.trigger_inversion import distinct

OnStep = Callable[[str, int, int, float | None], None]
SOLVERS: tuple[Solver, ...] = ("sde", "ode")
COLLAPSED = 1.0
"""From this collapse on, a shift counts as one that leads to one image: they are e times more alike than usual."""
TELLING = 2.5
"""Above this by :func:`counted` a response tells, and the one that counts most is taken; else the largest collapse."""
ORDINARY = -0.1
"""An image less novel than this is one that the model paints without any shift."""
ORDINARY_SHARE = 0.5
"""What a collapse counts where the image is such a one: it must be squared to tell as much."""
SAME = 0.8
"""Cosine from which on two shifts are of one direction: of such only the most telling one goes on."""
SALIENT = 0.03
"""Mean difference of the networks, in units of the noise, from which on a followed shift is taken for the trigger."""


@dataclass(frozen=True, eq=False)
class Audit:
    """What the comparison found.

    Attributes:
        directions: where the two networks differ on wide noise.
        screened: the responses of short chains to every shift, before any optimisation.
        judged: the responses of full chains, from fresh noise, to the shifts that went on.
        followed: the shifts along the direction, of those that following ended on, in which the networks differ most;
            none if they hardly differ.
        network_evaluations: forward passes of both networks, counted per sample.
    """

    directions: list[Direction]
    screened: list[Response]
    judged: list[Response]
    followed: list[Shift]
    network_evaluations: int

    @property
    def score(self) -> float:
        """The largest collapse of a judged response that the reference does not share, see :attr:`clearest`."""
        return self.clearest.sole_collapse

    @cached_property
    def clearest(self) -> Response:
        """The response that the score is of: the one that counts most, if it is telling."""
        plain = self.plain

        def rank(item: Response) -> tuple[float, float]:
            weighed = counted(item.sole_collapse, novelty(typical(item.images), plain))
            return weighed if weighed > TELLING else 0.0, item.sole_collapse

        return max(self.judged, key=rank)

    @property
    def plain(self) -> Tensor:
        """All the suspect's images from noise without a shift."""
        sets = {id(item.plain): item.plain for item in (*self.screened, *self.judged)}
        return torch.cat(list(sets.values()))

    @property
    def features(self) -> list[float]:
        """Score, repetition of the plain images, and novelty of the image that the clearest response is about."""
        return [self.score, repetition(self.plain), novelty(typical(self.clearest.images), self.plain)]

    @property
    def strangest(self) -> Response:
        """The response with the largest divergence."""
        return max(self.judged, key=lambda item: item.divergence)

    @property
    def chosen(self) -> Response:
        """The response to the best estimate of a trigger.

        That is the followed shift of the largest collapse; where the networks hardly differ at one, or only another
        shift collapses, of those of nearly the largest collapse the one that the others are most alike (what they share
        is the trigger), or, where nothing collapses, the shift of the largest divergence.
        """
        own = [item for item in self.judged if within(item.shift, self.followed)]
        most = max(item.collapse for item in self.judged)
        if own and (max(item.collapse for item in own) > COLLAPSED or most <= COLLAPSED):
            return max(own, key=lambda item: item.collapse)
        if most <= COLLAPSED:
            return self.strangest
        near = [item for item in self.judged if item.collapse >= most - COLLAPSED]
        near.sort(key=lambda item: float(item.shift.tensor.norm()))
        return max(near, key=lambda item: sum(cosine(item.shift.tensor, other.shift.tensor) for other in near))


def audit(pair: Pair, params: ReferenceAuditParams, on_step: OnStep | None = None) -> Audit:
    """Compare a model with its reference.

    Args:
        pair: the models to compare.
        params: of the defense.
        on_step: told (label, done, total, value) of the progress.
    """

    with frozen(pair.suspect.unet), frozen(pair.reference.unet):
        return _audit(pair, params, on_step)


def _audit(pair: Pair, params: ReferenceAuditParams, on_step: OnStep | None) -> Audit:
    def told(label: str) -> Callable[[int, int], None] | None:
        return None if on_step is None else lambda done, total: on_step(label, done, total, None)

    lines, evaluations = directions(pair, params, told("compare"))
    shifts = shifts_along(lines, params.norms)
    suspect = pair.suspect
    followed: list[tuple[Direction, list[Shift]]] = []
    for width, judged_at in zip(params.following_widths, params.followed_widths, strict=True):
        for norm in params.following_norms:
            line, spent = follow(pair, lines, width, norm, params, told("follow"))
            followed.append((line, shifts_along([line], params.followed_norms, (1.0,), judged_at)))
            evaluations += spent
    shifts += [shift for _, along in followed for shift in along]
    climbed: list[Direction] = []
    for place in params.climbs:
        found_lines, spent = climb(pair, lines, place, params, told("climb"))
        climbed, evaluations = climbed + found_lines, evaluations + spent
    along_climbs = [
        shift for width in params.climbed_widths for shift in shifts_along(climbed, params.climbed_norms, (1.0,), width)
    ]
    salient = [item for item in followed if item[0].difference > SALIENT]
    best = max(salient, key=lambda item: item[0].difference)[1] if salient else []
    screened: list[Response] = []
    judged: list[Response] = []
    for solver, steps in zip(SOLVERS, params.screening_steps, strict=True):
        full = default_steps(plain_sampler(suspect.scheduler, solver), suspect.timesteps)
        found, spent = respond(
            pair,
            shifts if solver == "sde" else [*shifts, *along_climbs],
            solver,
            steps=fitting_steps(steps, suspect.timesteps),
            samples=params.screening_samples,
            on_step=told(f"screen ({solver})"),
        )
        screened, evaluations = screened + found, evaluations + spent
        chosen = choose(found, params.candidates)
        if solver == "ode":
            moved, spent = refine(
                replace(pair, seed=pair.seed + 1),
                best_of(found, params.candidates, chosen),
                chain=fitting_steps(params.refinement_chain, suspect.timesteps),
                steps=params.refinement_steps,
                learning_rate=params.refinement_learning_rate,
                samples=params.screening_samples,
                on_step=told("refine"),
            )
            chosen, evaluations = chosen + moved, evaluations + spent
        own = sorted((item for item in found if within(item.shift, best)), key=lambda item: -item.excess)
        chosen += [item.shift for item in own[: params.candidates] if not within(item.shift, chosen)]
        found, spent = respond(
            pair,
            chosen,
            solver,
            steps=full,
            samples=params.samples,
            first_index=params.screening_samples,
            on_step=told(f"judge ({solver})"),
        )
        judged, evaluations = judged + found, evaluations + spent
    return Audit([*lines, *(line for line, _ in followed), *climbed], screened, judged, best, evaluations)


def counted(collapse: float, novel: float) -> float:
    """What a collapse counts as evidence: half of it where the image is one that the model paints anyway.

    An image that a clean model paints has a basin in the space of the noise, and a shift into it makes the images more
    alike by as much as the basin is wider than the noise: measured up to 24 times. A backdoor on noise of width gamma
    makes those of a deterministic chain alike by the power 1 / gamma - 1 of the ratio of the first to the last noise
    level, far beyond that, be its target new or a class of the model's own data.

    >>> counted(4.0, 0.5), counted(4.0, -0.5)
    (4.0, 2.0)
    """
    return collapse if novel >= ORDINARY else ORDINARY_SHARE * collapse


def within(shift: Shift, shifts: Sequence[Shift]) -> bool:
    """Whether it is one of them."""
    return any(shift is item for item in shifts)


def shifts_along(
    lines: Sequence[Direction], norms: Sequence[float], signs: Sequence[float] = (1.0, -1.0), width: float = 1.0
) -> list[Shift]:
    """Every direction with every sign at every root mean square, for noise of one width."""
    found = []
    for line in lines:
        values = math.sqrt(line.vector.numel())
        for sign in signs:
            for norm in norms:
                found.append(Shift(sign * norm * values * line.vector, f"{line.name}, x {sign * norm:g}", width))
    return found


def best_of(found: Sequence[Response], count: int, chosen: Sequence[Shift]) -> list[Shift]:
    """The ``count`` shifts of the largest score, then of the largest excess, among those that are chosen."""
    own = [item for item in found if within(item.shift, chosen)]
    return [item.shift for item in sorted(own, key=lambda item: (-item.sole_collapse, -item.excess))[:count]]


def choose(found: Sequence[Response], count: int) -> list[Shift]:
    """Shifts of the largest score, ``count`` of them, and those of the largest collapse, excess and stray.

    Shifts that are alike are taken once.
    """
    keys: tuple[Callable[[Response], float], ...] = (
        lambda item: item.sole_collapse,
        lambda item: item.collapse,
        lambda item: item.excess,
        lambda item: item.stray,
    )
    ranks = torch.full((len(found),), float(len(found)))
    for key in keys:
        most = count if key is keys[0] else 1
        for rank, index in enumerate(leaders(found, key, most)):
            ranks[index] = min(float(ranks[index]), rank)
    some = [index for index in range(len(found)) if ranks[index] < len(found)]
    tensors = torch.stack([found[index].shift.tensor for index in some])
    return [found[some[index]].shift for index in distinct(tensors, ranks[some])]


def leaders(found: Sequence[Response], key: Callable[[Response], float], count: int) -> list[int]:
    """Places of the largest values, ``count`` at most, none of them in the direction of one before it."""
    chosen: list[int] = []
    for index in sorted(range(len(found)), key=lambda place: -key(found[place])):
        own = found[index].shift.tensor
        if all(cosine(own, found[other].shift.tensor) < SAME for other in chosen):
            chosen.append(index)
        if len(chosen) == count:
            break
    return chosen


def fitting_steps(steps: int, timesteps: int) -> int:
    """The largest number of steps up to ``steps`` that divides the model's timesteps."""
    return max(d for d in range(1, min(steps, timesteps) + 1) if timesteps % d == 0)


def cosine(one: Tensor, other: Tensor) -> float:
    """Of the angle between two tensors; 0 if either is zero."""
    scale = float(one.double().norm() * other.double().norm())
    return float((one.double() * other.double()).sum()) / scale if scale else 0.0
