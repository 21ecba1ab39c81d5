"""Detection: the largest share of similar images that a pattern brings about, against that of clean models."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import torch
from pydantic import JsonValue, ValidationError
from torch import Tensor

from bdm_core.artifacts import Detection, Evidence, Model, Record
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_defense_diff_cleanse.plugin import DiffCleanseParams
from bdm_defense_diff_cleanse.search import Candidate, Search, search
from bdm_kit_diffusion.calibration import Verdict, one_class
from bdm_kit_diffusion.evidence import FORMAT, TENSORS, write_picture
from bdm_kit_diffusion.models import load_model
from bdm_kit_diffusion.tensors import write_tensors

SHIPPED = Path(__file__).with_name("calibration.json")
SEARCH = (
    "starts", "samplers", "epochs", "candidates", "samples", "sampling_steps", "similarity", "reach",
    "pattern_learning_rate", "gradient_scale", "entropy_band", "entropy_weight", "range_margin",
)  # fmt: skip
"""The parameters that a score depends on."""


class ModelRecord(Record):
    """One clean model: its name, the shape (C, H, W) of its images, and its score, an MSCR."""

    name: str
    shape: tuple[int, int, int]
    score: float


class Calibration(Record):
    """Scores of clean models, with the configuration that they were found with and the command that found them."""

    recipe: str
    configuration: dict[str, JsonValue]
    records: list[ModelRecord]

    def scores(self) -> list[float]:
        """The scores of the clean models."""
        return [record.score for record in self.records]


def configuration(params: DiffCleanseParams) -> dict[str, JsonValue]:
    """The parameters that a score depends on, as JSON."""
    return {key: value for key, value in params.model_dump(mode="json").items() if key in SEARCH}


def read_calibration(path: str | Path) -> Calibration:
    """Read a calibration file; "" is the one shipped. Raises UserError if it is none."""
    place = Path(path) if path else SHIPPED
    try:
        return Calibration.model_validate_json(place.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read the calibration {place}: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "file"
        raise UserError(f"{place} is no calibration of diff-cleanse: {where}: {first['msg']}") from None


def calibration_warnings(params: DiffCleanseParams, calibration: Calibration) -> list[str]:
    """One line if the scores of the calibration were found with another configuration."""
    mine = configuration(params)
    other = [key for key in mine if calibration.configuration.get(key) != mine[key]]
    if not other:
        return []
    return [f"diff-cleanse's calibration was made with other values of {', '.join(other)}: its threshold may not hold; "
            "calibrate again with `python -m bdm_defense_diff_cleanse.calibrate`"]  # fmt: skip


def detect(ctx: Context, params: DiffCleanseParams, model: Model) -> Detection:
    """Judge a model; the evidence is sealed in ``ctx.out / "evidence"``."""
    calibration = read_calibration(params.calibration)
    started = time.monotonic()
    result = search(load_model(model, ctx.device), params, ctx.seed, ctx.device, ctx.progress)
    ctx.figures(detection_seconds=round(time.monotonic() - started, 1))
    ctx.curve("inversion loss", result.best.found.losses)
    verdict = one_class(result.best.score, calibration.scores(), params.false_positive_rate, params.least_score)
    for line in calibration_warnings(params, calibration):
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
    text = json.dumps(calibration.model_dump(mode="json"), sort_keys=True)
    record = {
        "decision": verdict.model_dump(),
        "calibration": {
            "sha256": hashlib.sha256(text.encode()).hexdigest(),
            "clean_scores": calibration.scores(),
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
