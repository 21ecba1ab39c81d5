"""The verdict: the largest divergence from the reference, against that of clean fine-tunings; and its evidence."""

from __future__ import annotations

from typing import Any

import torch

from bdm_core.artifacts import Model
from bdm_core.context import Context
from bdm_core.records import Detection
from bdm_defense_reference_audit.audit import COLLAPSED, Audit, audit, cosine
from bdm_defense_reference_audit.pair import Pair
from bdm_defense_reference_audit.params import ReferenceAuditParams
from bdm_defense_reference_audit.reference import load_reference, weight_distance
from bdm_defense_reference_audit.response import Response
from bdm_diffusers.sampling import draw_noise
from bdm_kit_diffusion.inversion.baselines import mean_pixel, mean_pixel_threshold
from bdm_kit_diffusion.inversion.evidence import seal_trigger
from bdm_kit_diffusion.models.diffusion_model import load_model
from bdm_torch.calibration import Verdict, one_class
from bdm_torch.calibration_file import Calibrated, Calibration

MOST_DIVERGENT = "most_divergent"
"""The tensor of the evidence that holds the shift of the largest divergence, for the repair."""
CALIBRATED = Calibrated(
    "reference-audit",
    "bdm_defense_reference_audit",
)


def detect(ctx: Context, params: ReferenceAuditParams, model: Model) -> Detection:
    """Judge a model; the evidence is sealed in ``ctx.out / "evidence"``.

    Raises:
        UserError: no reference is named and none fits, or the one named cannot be compared with the model.
    """
    known = CALIBRATED.read(params.calibration)
    suspect = load_model(model, ctx.device)
    reference, name = load_reference(ctx.work, ctx.device, params.reference, suspect)
    distance = weight_distance(suspect, reference)
    found = audit(Pair(suspect, reference, ctx.seed, ctx.device), params, ctx.progress)
    verdict = one_class(found.score, known.column(), params.false_positive_rate, params.least_score)
    for line in CALIBRATED.warnings(params, known):
        ctx.log.warning(line)
    ctx.figures(
        reference=name,
        collapse=round(found.chosen.collapse, 4),
        weight_distance=distance,
        network_evaluations=found.network_evaluations,
        clean_samples=0,
    )
    tensors = {"trigger": found.chosen.shift.tensor, MOST_DIVERGENT: found.strangest.shift.tensor}
    record = facts(found, known, verdict, name, distance, params, ctx.seed)
    shown = suspect.decode(torch.nan_to_num(found.chosen.images).to(ctx.device)).cpu()
    return Detection(
        level="model",
        scores=[verdict.score],
        threshold=verdict.threshold,
        p_value=verdict.p_value,
        note=note(found, verdict, name),
        evidence=seal_trigger(ctx.out / "evidence", model.task, tensors, shown, record),
        network_evaluations=found.network_evaluations,
        clean_samples=0,
    )


def note(found: Audit, verdict: Verdict, reference: str) -> str:
    """One sentence for the table."""
    if verdict.score <= verdict.threshold:
        return f"answers shifted noise as {reference} does"
    best = max((found.chosen, found.strangest), key=lambda item: item.collapse)
    if best.collapse > COLLAPSED:
        return (
            f"under {best.shift.origin} its images ({best.solver} chain) are {1 / best.suspect:.3g} times more alike "
            f"than from plain noise, those of {reference} {1 / best.reference:.3g} times"
        )
    odd = found.strangest
    return (
        f"under {odd.shift.origin} ({odd.solver} chain) its images spread {odd.suspect:.3g} times as much as from "
        f"plain noise, those of {reference} {odd.reference:.3g} times"
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
        "calibration": {"sha256": known.fingerprint(), "clean_scores": known.column(), "recipe": known.recipe},
        "chosen": chosen.shift.origin,
        "baselines": {
            "zero trigger": {"score": 0.0},
            "start point only": {"score": max(item.divergence for item in found.screened)},
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
    }
