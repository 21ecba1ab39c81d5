"""From the triggers of all classes to a verdict on the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.records import Detection
from bdm_kit_classification.data.opening import open_reference
from bdm_kit_classification.data.samples import RESERVE, LabelledSamples, open_samples
from bdm_kit_classification.inversion.anomaly import Anomaly, anomaly, calibration_of, judged, led_nowhere, unfit
from bdm_kit_classification.inversion.evidence import inverted_of, seal_inverted
from bdm_kit_classification.inversion.params import InversionParams
from bdm_kit_classification.inversion.search import Inverted, Size, invert, require_classes
from bdm_kit_classification.models.classifier import Classifier, load_classifier
from bdm_torch.calibration_file import Calibrated, Known


@dataclass(frozen=True)
class Method:
    """What tells two detectors by inversion apart.

    Attributes:
        calibrated: name of the defense and its calibration.
        size: what the search minimises beside the cross entropy; made from the parameters.
        value: (classifier, clean rows, triggers) -> (K,): what is compared between classes; low is suspicious.
    """

    calibrated: Calibrated
    size: Callable[[Any], Size]
    value: Callable[[Classifier, LabelledSamples, Inverted], Tensor]


class Examined(NamedTuple):
    """The triggers of all classes, and how anomalous each class is."""

    found: Inverted
    anomaly: Anomaly

    @property
    def order(self) -> list[int]:
        """The classes, the most anomalous first."""
        return [int(place) for place in self.anomaly.indices.argsort(descending=True, stable=True)]


def examine(
    ctx: Context, params: InversionParams, classifier: Classifier, samples: LabelledSamples, method: Method
) -> Examined:
    """Invert a trigger for each class and compare them. Raises UserError if there are too few classes."""
    require_classes(classifier, method.calibrated.name)
    found = invert(ctx, classifier, samples, params, method.size(params))
    return Examined(found, anomaly(method.value(classifier, samples, found)))


def detect(ctx: Context, params: InversionParams, model: Model, data: Data, method: Method) -> Detection:
    """Judge a model by the anomaly index of its most suspicious class.

    Raises:
        UserError: too few classes; the calibration is none of this defense.
    """
    known = calibration_of(method.calibrated, params.calibration)
    classifier, samples = load_classifier(model, ctx.device), open_samples(data)
    found, unusual = examined = examine(ctx, params, classifier, samples, method)
    verdict = judged(unusual.score, params.threshold, known, params.false_positive_rate)
    shape: Any = model.meta["shape"]
    threshold = params.threshold if verdict is None else verdict.threshold
    name, flagged = classifier.classes[unusual.most], unusual.above(threshold)
    named = ", ".join(classifier.classes[place] for place in flagged)
    norms = found.norms
    note = (
        f"class {name}: mask of {norms[unusual.most]:.1f} pixels, median of all classes {norms.median():.1f}, anomaly "
        f"index {unusual.score:.2f}" + (f"; targets: {named}" if flagged else "")
    )
    outside = unfit(method.calibrated, params, known, shape) or led_nowhere(found.success, bool(flagged))
    doubt = outside or (verdict.doubt if verdict else "")
    ctx.figures(mask_norms=norms.tolist(), anomaly_indices=unusual.indices.tolist(), success=found.success.tolist())
    return Detection(
        level="model",
        scores=[unusual.score],
        threshold=threshold,
        p_value=None if verdict is None or outside else verdict.p_value,
        conclusive=not doubt,
        note=doubt or note + (verdict.resolution if verdict else ""),
        evidence=seal_inverted(ctx.out / "evidence", found, examined.order, classifier.classes, model.task),
        network_evaluations=params.inversion_steps * min(params.inversion_batch, len(samples)) * len(norms),
        clean_samples=len(samples),
    )


def triggers_to_remove(
    ctx: Context,
    params: InversionParams,
    classifier: Classifier,
    samples: LabelledSamples,
    detection: Detection | None,
    method: Method,
) -> tuple[Tensor, Tensor]:
    """Masks (k, 1, H, W) and patterns (k, C, H, W) of the classes above the threshold, or of the most anomalous.

    They come from a detection that has triggers, of this or of another plugin, and so does the threshold; else from a
    new search, with the threshold of its verdict: what a calibration lets pass is not removed beside a target.

    Raises:
        UserError: too few classes; the calibration is none of this defense.
        ArtifactError: the evidence is damaged.
    """
    known = inverted_of(detection, len(classifier.classes))
    if known is None or detection is None:
        clean = calibration_of(method.calibrated, params.calibration)
        found, unusual = examine(ctx, params, classifier, samples, method)
        verdict = judged(unusual.score, params.threshold, clean, params.false_positive_rate)
        threshold = params.threshold if verdict is None else verdict.threshold
    else:
        found, unusual = known[0], anomaly(method.value(classifier, samples, known[0]))
        threshold = detection.threshold
    chosen = unusual.above(threshold) or [unusual.most]
    ctx.figures(removed_targets=[classifier.classes[place] for place in chosen])
    return found.masks[chosen], found.patterns[chosen]


def calibrate(ctx: Context, params: InversionParams, models: Mapping[str, Model], out: Path, method: Method) -> None:
    """Write the anomaly indices of clean models, each examined with the reserve of the data it was trained on.

    Raises:
        UserError: the data that a model was trained on cannot be had.
    """

    def score(own: Context, one: _Examinable) -> list[float]:
        data = open_reference(None, one.model, own.work / "data", own.work / "cache")
        classifier = load_classifier(one.model, own.device)
        return [examine(own, params, classifier, open_samples(data, RESERVE), method).anomaly.score]

    known = [Known(name, _Examinable(model, model.meta["shape"])) for name, model in models.items()]
    method.calibrated.write(ctx, params, known, out, score)


class _Examinable(NamedTuple):
    """A model, with the shape that a calibration file notes."""

    model: Model
    shape: Any
