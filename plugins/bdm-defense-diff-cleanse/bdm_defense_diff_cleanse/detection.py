"""Detection: the largest share of similar images that a pattern brings about, against that of clean models."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bdm_core.artifacts import Detection, Evidence, Model
from bdm_core.context import Context
from bdm_defense_diff_cleanse.plugin import DiffCleanseParams
from bdm_defense_diff_cleanse.search import Candidate, Search, search
from bdm_kit_diffusion.calibration import Verdict, one_class
from bdm_kit_diffusion.calibration_file import Calibrated, Calibration
from bdm_kit_diffusion.evidence import FORMAT, TENSORS, write_picture
from bdm_kit_diffusion.models import load_model
from bdm_kit_diffusion.tensors import write_tensors

CALIBRATED = Calibrated(
    "diff-cleanse", "bdm_defense_diff_cleanse",
    ("starts", "samplers", "epochs", "candidates", "samples", "sampling_steps", "similarity", "reach",
     "pattern_learning_rate", "gradient_scale", "entropy_band", "entropy_weight", "range_margin"),
)  # fmt: skip
"""The one feature is the score, an MSCR."""


def detect(ctx: Context, params: DiffCleanseParams, model: Model) -> Detection:
    """Judge a model; the evidence is sealed in ``ctx.out / "evidence"``."""
    calibration = CALIBRATED.read(params.calibration)
    started = time.monotonic()
    result = search(load_model(model, ctx.device), params, ctx.seed, ctx.device, ctx.progress)
    ctx.figures(detection_seconds=round(time.monotonic() - started, 1))
    ctx.curve("inversion loss", result.best.found.losses)
    verdict = one_class(result.best.score, calibration.column(), params.false_positive_rate, params.least_score)
    for line in CALIBRATED.warnings(params, calibration):
        ctx.log.warning(line)
    return Detection(
        level="model",
        scores=[verdict.score],
        threshold=verdict.threshold,
        p_value=verdict.p_value,
        note=note(result, verdict),
        evidence=seal_evidence(ctx.out / "evidence", model.task, calibration, result, verdict),
        network_evaluations=result.network_evaluations,
        clean_samples=0,
    )


def note(result: Search, verdict: Verdict) -> str:
    """One sentence for the table."""
    best, count = result.best, len(result.best.images)
    if verdict.score > verdict.threshold:
        return (
            f"{round(best.score * count)} of {count} images with {best.sampler} are alike under the pattern inverted "
            f"from {best.start!r}, {round(best.start_score * count)} under the start alone"
        )
    return (
        f"at most {round(best.score * count)} of {count} images are alike under any pattern; a trigger that none of "
        f"{result.starts} starts leads to would be missed"
    )


def seal_evidence(folder: Path, task: str, calibration: Calibration, result: Search, verdict: Verdict) -> Evidence:
    """Write pattern, pictures, candidates and baselines, and seal them (format ``inverted-trigger``)."""
    folder.mkdir(parents=True)
    best = result.best
    write_tensors(folder / TENSORS, {"trigger": best.found.shift})
    write_picture(folder / "trigger.png", best.found.shift / max(1.0, float(best.found.shift.abs().max())))
    (folder / "samples").mkdir()
    for index, image in enumerate(best.images):
        write_picture(folder / "samples" / f"{index:02d}.png", torch.nan_to_num(image))
    record = {
        "decision": verdict.model_dump(),
        "calibration": {
            "sha256": calibration.fingerprint(),
            "clean_scores": calibration.column(),
            "recipe": calibration.recipe,
        },
        "baselines": {
            "zero trigger": result.zero,
            "start point only": max(item.start_score for item in result.candidates),
            "mean pixel": {"share of inputs with the inverted trigger that it flags": best.mean_pixel},
        },
        "candidates": [features(item) for item in result.candidates],
    }
    (folder / "features.json").write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    meta: dict[str, Any] = {
        "shape": list(best.found.shift.shape), "norm": norm(best.found.shift), "count": len(best.images)
    }  # fmt: skip
    return Evidence.seal(folder, format=FORMAT, task=task, meta=meta)


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
