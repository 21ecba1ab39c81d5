"""The verdict on a model, by clean models or by the published threshold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bdm_core.artifacts import Model
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_core.records import Detection
from bdm_defense_free_eagle.cutting import LaterPart
from bdm_defense_free_eagle.inspection import anomaly, representations, tendencies
from bdm_defense_free_eagle.params import FEWEST_CLASSES, FreeEagleParams
from bdm_kit_classification.models.classifier import Classifier, load_classifier
from bdm_torch.calibration import conformal, require_finite
from bdm_torch.calibration_file import Calibrated, Known

CALIBRATED = Calibrated("free-eagle", "bdm_defense_free_eagle")
NEVER_CLEAN = "cannot tell: most backdoored models that were measured have no higher score than clean ones either"


@dataclass(frozen=True)
class Opened:
    """A model with the shape of its pictures."""

    classifier: Classifier
    shape: tuple[int, ...]


def opened(model: Model, device: str) -> Opened:
    """The classifier of a model."""
    classifier = load_classifier(model, device)
    shape: Any = classifier.facts()["shape"]
    return Opened(classifier, tuple(int(size) for size in shape))


def traits(model: Opened) -> dict[str, str]:
    """What else than the shape tells kinds of models apart."""
    return {"classes": f"{len(model.classifier.classes)} classes"}


def inspect(ctx: Context, params: FreeEagleParams, model: Opened) -> Tensor:
    """The tendency (K,) towards each class.

    Raises:
        UserError: fewer than five classes.
    """
    classes = len(model.classifier.classes)
    if classes < FEWEST_CLASSES:
        raise UserError(f"free-eagle compares classes and needs {FEWEST_CLASSES}, this model has {classes}")
    for parameter in model.classifier.parameters():
        parameter.requires_grad_(False)
    part = LaterPart(model.classifier, params.depth, model.shape)
    found = representations(
        part, classes, params, ctx.seed, lambda done, total, loss: ctx.progress("representations", done, total, loss)
    )
    with torch.no_grad():
        return tendencies(part(found).double().softmax(1).cpu())


def detect(ctx: Context, params: FreeEagleParams, model: Model) -> Detection:
    """Judge a model."""
    judged = opened(model, ctx.device)
    found = inspect(ctx, params, judged)
    score = anomaly(found)
    require_finite([score])
    suspect = int(found.argmax())
    ctx.figures(tendencies=found.tolist(), suspected_class=suspect)
    note = f"representations of other classes lean most towards class {judged.classifier.classes[suspect]}"
    spent = params.steps * len(found)
    if params.threshold is not None:
        return Detection(
            level="model", scores=[score], threshold=params.threshold, note=note, network_evaluations=spent
        )
    known = CALIBRATED.read(params.calibration)
    outside = known.outside(judged.shape, traits(judged))
    outside = f"cannot tell: {outside}" if outside else CALIBRATED.other_settings(params, known)
    verdict = conformal(score, known.column(), params.false_positive_rate)
    above = score > verdict.threshold
    return Detection(
        level="model",
        scores=[score],
        threshold=verdict.threshold,
        p_value=None if outside else verdict.p_value,
        conclusive=above and not outside,
        note=outside or note + verdict.resolution + ("" if above else f"; {NEVER_CLEAN}"),
        network_evaluations=spent,
    )


def calibrate(ctx: Context, params: FreeEagleParams, models: Mapping[str, Model], out: Path) -> None:
    """Write the anomalies of clean models."""
    every = ((name, opened(model, ctx.device)) for name, model in models.items())
    known = (Known(name=Path(name).name, model=model, traits=traits(model)) for name, model in every)
    CALIBRATED.write(ctx, params, known, out, lambda own, model: [anomaly(inspect(own, params, model))])
