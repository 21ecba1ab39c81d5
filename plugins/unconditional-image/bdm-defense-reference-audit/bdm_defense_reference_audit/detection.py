"""The verdict: the largest collapse that the reference does not share, against clean children; and its evidence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from bdm_core.artifacts import Model
from bdm_core.context import Context
from bdm_core.records import Detection
from bdm_defense_reference_audit.audit import ORDINARY, Audit, audit, cosine, counted
from bdm_defense_reference_audit.pair import Pair
from bdm_defense_reference_audit.params import ReferenceAuditParams
from bdm_defense_reference_audit.reference import kinship, load_reference, no_parent, weight_distance
from bdm_defense_reference_audit.response import Response
from bdm_diffusers.sampling import draw_noise
from bdm_kit_diffusion.inversion.baselines import mean_pixel, mean_pixel_threshold
from bdm_kit_diffusion.inversion.evidence import seal_trigger
from bdm_kit_diffusion.models.coverage import CANNOT_TELL, out_of_reach
from bdm_kit_diffusion.models.diffusion_model import load_model
from bdm_torch.calibration import Verdict, conformal
from bdm_torch.calibration_file import Calibrated, Calibration

MOST_DIVERGENT = "most_divergent"
"""The tensor of the evidence that holds the shift of the largest divergence, for the repair."""
CALIBRATED = Calibrated("reference-audit", "bdm_defense_reference_audit", features=3)
"""The features are score, repetition and novelty, see :attr:`bdm_defense_reference_audit.audit.Audit.features`."""
REPEATS = 2.0
"""A model that repeats itself more than this knows its images by heart: a shift that leads to one says nothing."""


def detect(ctx: Context, params: ReferenceAuditParams, model: Model) -> Detection:
    """Judge a model; the evidence is sealed in ``ctx.out / "evidence"``.

    It cannot tell of a model that the reference is no parent of (then there is no evidence either), or that the
    calibration does not cover.

    Raises:
        UserError: no reference is named and none fits, or the one named cannot be compared with the model.
    """
    known = CALIBRATED.read(params.calibration)
    suspect = load_model(model, ctx.device)
    reference, name = load_reference(ctx.work, ctx.device, params.reference, suspect)
    distance = weight_distance(suspect, reference)
    refused = no_parent(suspect, reference, name)
    ctx.figures(reference=name, weight_distance=distance, kinship=kinship(suspect, reference), clean_samples=0)
    if refused:
        threshold = conformal(0.0, scores_of(known), params.false_positive_rate, params.least_score).threshold
        return Detection(level="model", scores=[0.0], threshold=threshold, conclusive=False, note=refused)
    found = audit(Pair(suspect, reference, ctx.seed, ctx.device), params, ctx.progress)
    verdict, doubt = decide(found.features, known, params)
    outside = out_of_reach("reference-audit", suspect, known, ctx.device)
    doubt = outside or CALIBRATED.other_settings(params, known) or doubt
    ctx.figures(collapse=round(found.score, 4), network_evaluations=found.network_evaluations)
    tensors = {"trigger": found.chosen.shift.tensor, MOST_DIVERGENT: found.strangest.shift.tensor}
    record = facts(found, known, verdict, name, distance, params, ctx.seed)
    shown = suspect.decode(torch.nan_to_num(found.chosen.images).to(ctx.device)).cpu()
    return Detection(
        level="model",
        scores=[verdict.score],
        threshold=verdict.threshold,
        p_value=None if doubt else verdict.p_value,
        conclusive=not doubt,
        note=doubt or note(found, verdict, name),
        evidence=seal_trigger(ctx.out / "evidence", model.task, tensors, shown, record),
        network_evaluations=found.network_evaluations,
        clean_samples=0,
    )


def scores_of(known: Calibration) -> list[float]:
    """The scores of the clean models that do not repeat themselves: of the others there is no verdict by score."""
    return [weighed(features) for features in known.clean() if features[1] <= REPEATS]


def weighed(features: Sequence[float]) -> float:
    """What the score counts, see :func:`bdm_defense_reference_audit.audit.counted`.

    >>> weighed([4.0, 1.0, 0.5]), weighed([4.0, 1.0, -0.5])
    (4.0, 2.0)
    """
    score, _, novel = features
    return counted(score, novel)


def decide(features: list[float], known: Calibration, params: ReferenceAuditParams) -> tuple[Verdict, str]:
    """The verdict, and why it is none, or ""."""
    score, repeated, novel = features
    verdict = conformal(weighed(features), scores_of(known), params.false_positive_rate, params.least_score)
    above = score > verdict.threshold
    alike = f"under a shift its images are {math.exp(score):.3g} times more alike than the reference's"
    if above and repeated > REPEATS:
        return verdict, (
            f"{CANNOT_TELL}: {alike}, but it paints the same few images without any shift too, as a model does that "
            "was trained on few"
        )
    if above and novel < ORDINARY and not verdict.backdoored:
        return verdict, f"{CANNOT_TELL}: {alike}, but they show what it paints without any shift too"
    if params.doubtful_score < score <= verdict.threshold:
        return verdict, f"{CANNOT_TELL}: {alike}: more than in most clean models, less than in backdoored ones"
    return verdict, verdict.doubt


def note(found: Audit, verdict: Verdict, reference: str) -> str:
    """One sentence for the table."""
    if not verdict.backdoored:
        return f"answers shifted noise as {reference} does"
    best = found.clearest
    return (
        f"under {best.shift.origin} its images ({best.solver} chain) are {1 / best.suspect:.3g} times more alike "
        f"than from plain noise, those of {reference} {1 / best.reference:.3g} times{verdict.resolution}"
    )


def facts(
    found: Audit,
    known: Calibration,
    verdict: Verdict,
    reference: str,
    distance: float | None,
    params: ReferenceAuditParams,
    seed: int,
) -> dict[str, Any]:
    """Everything that led to the verdict, with the baselines, as JSON."""
    chosen = found.chosen
    shape = chosen.shift.tensor.shape
    shifted = draw_noise(64, tuple(shape), seed) + chosen.shift.tensor
    flagged = mean_pixel(shifted) > mean_pixel_threshold(params.false_positive_rate)
    return {
        "reference": reference,
        "decision": verdict.model_dump(),
        "calibration": {"sha256": known.fingerprint(), "clean_scores": scores_of(known), "recipe": known.recipe},
        "chosen": chosen.shift.origin,
        "features": dict(zip(("score", "repetition", "novelty"), found.features, strict=True)),
        "baselines": {
            "zero trigger": {"score": 0.0},
            "start point only": {"score": max(item.sole_collapse for item in found.screened)},
            "distance of the weights": distance,
            "mean pixel": {"share of inputs with the inverted trigger that it flags": float(flagged.double().mean())},
        },
        "directions": [
            {
                "name": line.name,
                "difference": line.difference,
                "agreement": line.agreement,
                "cosine_to_chosen": cosine(line.vector, chosen.shift.tensor),
            }
            for line in found.directions
        ],
        "screened": [response_facts(item) for item in found.screened],
        "judged": [response_facts(item) for item in found.judged],
    }


def response_facts(item: Response) -> dict[str, Any]:
    """One response as JSON."""
    return {
        "shift": item.shift.origin,
        "solver": item.solver,
        "norm": float(item.shift.tensor.double().norm()),
        "suspect": item.suspect,
        "reference": item.reference,
        "excess": item.excess,
        "stray": item.stray,
        "collapse": item.collapse,
        "sole_collapse": item.sole_collapse,
    }
