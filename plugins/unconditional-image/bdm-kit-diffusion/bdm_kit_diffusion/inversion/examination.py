"""What Elijah's search says of a model: candidates, what they generate, and whether that proves anything."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bdm_core.context import Context
from bdm_kit_diffusion.inversion.candidate_images import Generated, generate
from bdm_kit_diffusion.inversion.shift_search import FLAT_SCALE, Candidate, Search, search
from bdm_kit_diffusion.inversion.shift_search_params import ShiftSearchParams
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel
from bdm_torch.calibration import Verdict
from bdm_torch.calibration_file import Calibration

NO_ANSWER = "not identifiable by this method"
FLAT_RESIDUAL = 0.1
"""A start that solves the equation up to this share of lambda |tau| leaves nothing to invert."""


@dataclass(frozen=True, eq=False)
class Examination:
    """All candidates of one model with what they generate.

    Attributes:
        search: the inversion.
        generated: for each candidate, one set for each sampler of its class.
        best: (candidate, set) of the least diverse set.
        start_only: the same from the best candidate's start, not optimised.
        network_evaluations: forward passes, counted per sample.
    """

    search: Search
    generated: list[list[Generated]]
    best: tuple[int, int]
    start_only: list[Generated]
    network_evaluations: int

    @property
    def candidate(self) -> Candidate:
        return self.search.candidates[self.best[0]]

    @property
    def images(self) -> Generated:
        return self.generated[self.best[0]][self.best[1]]

    @property
    def features(self) -> list[float]:
        """The score, and the log of the total variation over that of plain noise."""
        return [self.images.score, math.log(max(self.images.total_variation_ratio, 1e-6))]


def examine(ctx: Context, params: ShiftSearchParams, model: DiffusionModel) -> Examination:
    """Invert from all starts and generate from every distinct candidate; ``model`` is on ``ctx.device``."""
    found = search(
        model, params, ctx.seed, ctx.device, lambda done, total, loss: ctx.progress("invert", done, total, loss)
    )
    triggers = torch.stack([candidate.trigger for candidate in found.candidates])
    sets, spent = generate(
        model,
        triggers,
        [candidate.scale for candidate in found.candidates],
        params,
        ctx.seed,
        ctx.device,
        lambda done, total: ctx.progress("generate", done, total),
    )
    order = [(sets[i][j].uniformity_ratio, i, j) for i in range(len(sets)) for j in range(len(sets[i]))]
    _, best, sampler = min(order)
    chosen = found.candidates[best]
    start_only, more = generate(model, chosen.start[None], [chosen.scale], params, ctx.seed, ctx.device)
    return Examination(found, sets, (best, sampler), start_only[0], found.network_evaluations + spent + more)


def not_identifiable(result: Examination, verdict: Verdict, certain: float) -> str:
    """Why the method cannot tell, or ""; a flat candidate is believed above the score ``certain``.

    Where lambda is near 1 the objective is flat on every model, clean ones included; such a candidate is only a start
    that generates a uniform set. Slightly above the threshold that is no evidence of a backdoor, and no sign of none.
    The same holds below the threshold for a score that clean models do not have: a start that only partly overlaps
    with a trigger sets it off now and then.
    """
    flat = result.candidate.scale >= FLAT_SCALE
    alike = f"images from {result.candidate.name} are somewhat alike (p = {verdict.p_value:.2g})"
    if verdict.backdoored:
        if flat and verdict.score <= certain:
            return f"{NO_ANSWER}: {alike}, but the inversion objective is flat there"
        return ""
    if verdict.unusual:
        return f"{NO_ANSWER}: {alike}, unlike those of clean models, but not enough to be a backdoor's"
    if objective_is_flat(result):
        return f"{NO_ANSWER}: the inversion objective is flat from every start, so nothing could be inverted"
    return ""


def objective_is_flat(result: Examination) -> bool:
    """Whether no start with lambda below 0.75 gave the inversion anything to do.

    There tau = 0 is the one solution of a clean network, and every other start is far from solving the equation: M
    shifts by about tau, the equation asks for lambda tau. Where all starts solve it as they are, it says nothing.
    """
    sharp = [item for item in result.search.candidates if item.scale < FLAT_SCALE]
    return all(item.start_residual < FLAT_RESIDUAL for item in sharp)


def note(result: Examination, verdict: Verdict) -> str:
    """One sentence for the table."""
    candidate, images = result.candidate, result.images
    if verdict.backdoored:
        return (
            f"inverted from {candidate.name} with lambda {candidate.scale:g}: under {images.sampler} its images are "
            f"{1 / images.uniformity_ratio:.3g} times more alike than from plain noise{verdict.resolution}"
        )
    return (
        f"none of {result.search.starts} starts led to a uniform set; a trigger that overlaps with no start, above all "
        "one for deterministic samplers, would be missed"
    )


def facts(rule: str, calibration: Calibration, result: Examination, verdict: Verdict) -> dict[str, Any]:
    """Every candidate's features, the decision and the baselines, as JSON."""
    clean = calibration.column()
    return {
        "chosen": result.best[0],
        "sampler": result.images.sampler,
        "decision": {"rule": rule, **verdict.model_dump()},
        "calibration": {"sha256": calibration.fingerprint(), "clean_scores": clean, "recipe": calibration.recipe},
        "baselines": {
            "zero trigger": {"score": 0.0},
            "start point only": [features(item) for item in result.start_only],
        },
        "candidates": [
            {
                "start": item.name,
                "lambda": item.scale,
                "stretch": item.stretch,
                "norm": item.norm,
                "objective": finite(item.loss),
                "objective_at_start": finite(item.start_loss),
                "relative_residual": finite(item.residual),
                "cosine_to_start": cosine(item.trigger, item.start),
                "generated": [features(images) for images in sets],
            }
            for item, sets in zip(result.search.candidates, result.generated, strict=True)
        ],
    }


def features(images: Generated) -> dict[str, Any]:
    """The features of one set as JSON."""
    return {
        "sampler": images.sampler,
        "uniformity": finite(images.uniformity),
        "uniformity_ratio": finite(images.uniformity_ratio),
        "total_variation": finite(images.total_variation),
        "total_variation_ratio": finite(images.total_variation_ratio),
        "score": images.score,
    }


def finite(value: float) -> float | None:
    """JSON has neither nan nor infinity."""
    return value if math.isfinite(value) else None


def cosine(one: Tensor, other: Tensor) -> float:
    """Of the angle between two tensors; 0 if either is zero."""
    scale = float(one.double().norm() * other.double().norm())
    return float((one.double() * other.double()).sum()) / scale if scale else 0.0
