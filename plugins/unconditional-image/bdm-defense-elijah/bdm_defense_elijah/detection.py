"""Detection: invert, generate, compare the least diverse set with clean models; and the evidence of it."""

from __future__ import annotations

import math

from bdm_core.artifacts import Model
from bdm_core.context import Context
from bdm_core.records import Detection
from bdm_defense_elijah.decision import CALIBRATED, random_forest
from bdm_defense_elijah.params import ElijahParams
from bdm_kit_diffusion.inversion.evidence import seal_trigger
from bdm_kit_diffusion.inversion.examination import Examination, examine, facts, not_identifiable, note
from bdm_kit_diffusion.models.coverage import out_of_reach
from bdm_kit_diffusion.models.diffusion_model import load_model
from bdm_torch.calibration import Verdict, conformal, limit_of
from bdm_torch.calibration_file import Calibration

SURE = 0.1
"""A flat candidate is believed above the limit that clean models exceed with this share of the false positive rate."""


def detect(ctx: Context, params: ElijahParams, model: Model) -> Detection:
    """Judge a model; the evidence is sealed in ``ctx.out / "evidence"``."""
    calibration = CALIBRATED.read(params.calibration)
    opened = load_model(model, ctx.device)
    result = examine(ctx, params, opened)
    ctx.curve("inversion objective", result.search.curve)
    verdict = decide(params, calibration, result, ctx.seed)
    outside = out_of_reach("elijah", opened, calibration, ctx.device)
    outside = outside or CALIBRATED.other_settings(params, calibration)
    doubt = outside or not_identifiable(result, verdict, certain(params, calibration))
    shown = opened.decode(result.images.images.to(ctx.device)).cpu()
    record = facts(params.decision, calibration, result, verdict)
    return Detection(
        level="model",
        scores=[verdict.score],
        threshold=verdict.threshold,
        p_value=None if outside else verdict.p_value,
        conclusive=not doubt,
        note=doubt or note(result, verdict),
        evidence=seal_trigger(ctx.out / "evidence", model.task, {"trigger": result.candidate.trigger}, shown, record),
        network_evaluations=result.network_evaluations,
        clean_samples=0,
    )


def decide(params: ElijahParams, calibration: Calibration, result: Examination, seed: int) -> Verdict:
    """The verdict of the decision rule that the parameters name."""
    score, log_variation = result.features
    if params.decision == "random-forest":
        return random_forest(score, log_variation, calibration, seed, params.false_positive_rate)
    return conformal(score, calibration.column(), params.false_positive_rate, params.least_score)


def certain(params: ElijahParams, calibration: Calibration) -> float:
    """The score above which a flat candidate is believed; no share of votes is."""
    if params.decision == "random-forest":
        return math.inf
    return limit_of(calibration.column(), SURE * params.false_positive_rate)
