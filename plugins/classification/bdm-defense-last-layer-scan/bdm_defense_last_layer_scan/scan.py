"""The verdict: statistics of the last layer against those of clean models of the same kind, or "cannot tell"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bdm_core.artifacts import Model
from bdm_core.context import Context
from bdm_core.records import Detection
from bdm_defense_last_layer_scan.params import LastLayerScanParams
from bdm_defense_last_layer_scan.statistics import centred, head_statistics
from bdm_kit_classification.models.classifier import Classifier, load_classifier
from bdm_torch.calibration import conformal, require_finite
from bdm_torch.calibration_file import Calibrated, Known

CALIBRATED = Calibrated("last-layer-scan", "bdm_defense_last_layer_scan")
"""The feature is the positive mass."""


def traits_of(classifier: Classifier) -> dict[str, str]:
    """What a clean model must have in common with the one that is judged: size of the last layer, and network.

    A model of another kind has other statistics, clean or not.
    """
    classes, features = classifier.head.weight.shape
    config: Any = getattr(classifier, "config", None)
    kind = str(getattr(config, "architecture", "") or type(classifier).__name__)
    return {"network": kind, "last layer": f"{features} to {classes}"}


@dataclass(frozen=True)
class Opened:
    """A model with its shape, as :class:`bdm_torch.calibration_file.Known` wants it."""

    classifier: Classifier
    shape: tuple[int, int, int]


def opened(model: Model, device: str) -> Opened:
    """The classifier of a model, with the shape of its pictures."""
    classifier = load_classifier(model, device)
    shape: Any = classifier.facts().get("shape", [0, 0, 0])
    return Opened(classifier, (int(shape[0]), int(shape[1]), int(shape[2])))


def features_of(ctx: Context, model: Opened) -> list[float]:
    """The positive mass of the last layer, its classes' mean left out."""
    return [head_statistics(centred(model.classifier.head.weight))[0].positive_mass]


def detect(ctx: Context, params: LastLayerScanParams, model: Model) -> Detection:
    """Judge a model; without clean models of its kind it cannot be told.

    Raises:
        UserError: fewer than three classes, or the calibration cannot be read.
        ArtifactError: the weights are not finite.
    """
    judged, known = opened(model, ctx.device), CALIBRATED.read(params.calibration)
    require_finite(judged.classifier.head.weight.detach().flatten().tolist())
    found, suspect = head_statistics(centred(judged.classifier.head.weight))
    ctx.figures(**found._asdict(), suspected_class=suspect)
    outside = known.outside(judged.shape, traits_of(judged.classifier))
    if outside:
        return Detection(level="model", scores=[found.positive_mass], threshold=0.0, conclusive=False, note=outside)
    alike = [
        record.features[0]
        for record in known.records
        if tuple(record.shape) == judged.shape and record.traits == traits_of(judged.classifier)
    ]
    verdict = conformal(found.positive_mass, alike, params.false_positive_rate)
    label = judged.classifier.classes[suspect]
    return Detection(
        level="model",
        scores=[verdict.score],
        threshold=verdict.threshold,
        p_value=verdict.p_value,
        note=f"class {label} has the most positive weight{verdict.resolution}",
    )


def calibrate(ctx: Context, params: LastLayerScanParams, models: Mapping[str, Model], out: Path) -> None:
    """Write the statistics of clean models."""
    known = (
        Known(name=Path(name).name, model=found, traits=traits_of(found.classifier))
        for name, found in ((name, opened(model, ctx.device)) for name, model in models.items())
    )
    CALIBRATED.write(ctx, params, known, out, features_of)
