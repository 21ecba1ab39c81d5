"""Detection: the largest share of similar images that a pattern brings about, against that of clean models."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bdm_core.artifacts import Model
from bdm_core.context import Context
from bdm_core.records import Detection
from bdm_defense_diff_cleanse.params import DiffCleanseParams
from bdm_defense_diff_cleanse.search import Candidate, Search, search
from bdm_kit_diffusion.inversion.evidence import seal_trigger
from bdm_kit_diffusion.models.coverage import out_of_reach
from bdm_kit_diffusion.models.diffusion_model import load_model
from bdm_torch.calibration import Verdict, conformal
from bdm_torch.calibration_file import Calibrated, Calibration

CALIBRATED = Calibrated(
    "diff-cleanse",
    "bdm_defense_diff_cleanse",
)
"""The one feature is the score, an MSCR."""


def detect(ctx: Context, params: DiffCleanseParams, model: Model) -> Detection:
    """Judge a model; the evidence is sealed in ``ctx.out / "evidence"``."""
    calibration = CALIBRATED.read(params.calibration)
    opened = load_model(model, ctx.device)
    result = search(opened, params, ctx.seed, ctx.device, ctx.progress)
    ctx.curve("inversion loss", result.best.found.losses)
    verdict = conformal(result.best.score, calibration.column(), params.false_positive_rate, params.least_score)
    outside = out_of_reach("diff-cleanse", opened, calibration, ctx.device)
    outside = outside or CALIBRATED.other_settings(params, calibration)
    doubt = outside or verdict.doubt
    shown = opened.decode(torch.nan_to_num(result.best.images).to(ctx.device)).cpu()
    record = facts(calibration, result, verdict)
    return Detection(
        level="model",
        scores=[verdict.score],
        threshold=verdict.threshold,
        p_value=None if outside else verdict.p_value,
        conclusive=not doubt,
        note=doubt or note(result, verdict),
        evidence=seal_trigger(ctx.out / "evidence", model.task, {"trigger": result.best.found.shift}, shown, record),
        network_evaluations=result.network_evaluations,
        clean_samples=0,
    )


def note(result: Search, verdict: Verdict) -> str:
    """One sentence for the table."""
    best, count = result.best, len(result.best.images)
    if verdict.backdoored:
        return (
            f"{round(best.score * count)} of {count} images with {best.sampler} are alike under the pattern inverted "
            f"from {best.start!r}, {round(best.start_score * count)} under the start alone{verdict.resolution}"
        )
    return (
        f"at most {round(best.score * count)} of {count} images are alike under any pattern; a trigger that none of "
        f"{result.starts} starts leads to would be missed"
    )


def facts(calibration: Calibration, result: Search, verdict: Verdict) -> dict[str, Any]:
    """Candidates, decision and baselines, as JSON."""
    return {
        "decision": verdict.model_dump(),
        "calibration": {
            "sha256": calibration.fingerprint(),
            "clean_scores": calibration.column(),
            "recipe": calibration.recipe,
        },
        "baselines": {
            "zero trigger": result.zero,
            "start point only": max(item.start_score for item in result.candidates),
            "mean pixel": {"share of inputs with the inverted trigger that it flags": result.best.mean_pixel},
        },
        "candidates": [features(item) for item in result.candidates],
    }


def features(item: Candidate) -> dict[str, Any]:
    """One candidate as JSON."""
    return {
        "start": item.start,
        "sampler": item.sampler,
        "score": item.score,
        "score_of_start": item.start_score,
        "mscr_while_inverting": item.found.mscr,
        "mscr_of_start_while_inverting": item.found.start_mscr,
        "loss": item.found.loss,
        "epochs": len(item.found.losses) - 1,
        "norm": norm(item.found.shift),
    }


def norm(shift: Tensor) -> float:
    """||tau||_2."""
    return round(float(shift.double().norm()), 6)
