"""From the measures of a classifier to a verdict, and to the file of clean models that it is judged by."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from bdm_core.artifacts import Data, Evidence, Model
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_core.records import Detection
from bdm_defense_classifier_audit.audit import Audit, audit, audit_weights
from bdm_defense_classifier_audit.baseline import opened, trained
from bdm_defense_classifier_audit.decision import (
    CALIBRATED,
    FEWEST_CLASSES,
    Lead,
    decide,
    doubt_of,
    features_of,
    leads,
    of_baseline,
    of_mode,
)
from bdm_defense_classifier_audit.measures import TOGETHER
from bdm_defense_classifier_audit.params import ClassifierAuditParams
from bdm_kit_classification.data.absent import is_absent
from bdm_kit_classification.data.opening import open_reference
from bdm_kit_classification.data.samples import RESERVE, LabelledSamples, open_samples
from bdm_kit_classification.models.classifier import Classifier, load_classifier
from bdm_kit_classification.training.fitting import accuracy
from bdm_torch.calibration_file import Known
from bdm_torch.tensors import write_tensors

LEAST_ACCURACY = 0.7
"""A model that takes fewer of the clean pictures for what they are is not judged on them."""
CANNOT_TELL = "cannot tell"
NO_SIGN = (
    f"{CANNOT_TELL}: the weights alone show no sign of a backdoor, but they do not show every one; give clean pictures "
    "(--data)"
)
NO_PICTURES = "by the weights alone, since there are no clean pictures (--data): "
BASELINES = 2
"""A calibration has so many baselines of the same pictures."""
FEWEST_A_CLASS = 10
"""So many clean pictures of a class, on the average, a baseline is trained on at least."""
SHOWN = 6
WORDS = {
    "patch": "a patch that leads to it is {} times smaller than for any other",
    "added": "a picture that leads to it when added is {} times smaller than for any other",
    "warp": "a warp that leads to it is {} times smaller than for any other",
    "spectrum": "a pattern of few frequencies that leads to it is {} times smaller than for any other",
    "feature": "a shift of the features that leads to it is {} times smaller than for any other",
    "noise": "pictures with noise in them go to it {} times as often as to any other",
    "margin": "its margin over all others can be {} times larger than that of any other",
    "head": "its positive weights in the last layer are {} times those of any other",
}
"""Of a lead, by how much beyond what is expected of the classes."""


def detect(ctx: Context, params: ClassifierAuditParams, model: Model, data: Data) -> Detection:
    """Judge a classifier; the evidence is sealed in ``ctx.out / "evidence"``.

    By the weights alone where nobody said which data are clean, unless a reference is named, which needs pictures.

    Raises:
        UserError: no clean picture; the calibration is none of this defense; the reference cannot be compared.
        ArtifactError: the model's answers are not finite; the reference is no classifier.
    """
    unseen = is_absent(data) and params.mode == "pictures"
    if unseen:
        params = params.model_copy(update={"weights_only": True})
    known, mode = CALIBRATED.read(params.calibration), params.mode
    classifier = load_classifier(model, ctx.device)
    names, shape = classifier.classes, _shape_of(model)
    samples = None if mode == "weights" else open_samples(data)
    doubt = "" if samples is None else unfit_pictures(classifier, samples, params)
    outside = out_of_reach(classifier, known.outside(shape, _traits(classifier)))
    outside = outside or doubt
    other = CALIBRATED.other_settings(params, known, ignored=params.idle)
    expected: dict[str, list[float]] | None = None
    if samples is None:
        found = audit_weights(classifier, tuple(shape), ctx.seed)
    else:
        found = audit(classifier, samples, params, ctx.seed)
        expected = expectation(ctx, params, classifier, samples) if not outside else found.values
    lead = leads(found.values, mode, expected)
    verdict = decide(lead, mode, known, params.false_positive_rate)
    doubt = outside or other or verdict.doubt
    if not verdict.backdoored:
        doubt = doubt or doubt_of(lead, mode, known, params.doubt_rate)
    if samples is None and not verdict.backdoored:
        doubt = doubt or NO_SIGN
    note = doubt or described(lead, of_mode(known.clean(), mode), names, verdict.backdoored) + verdict.resolution
    ctx.figures(
        values=found.values, expected=expected, leads={item.measure: [item.size, names[item.target]] for item in lead}
    )
    measurements = 1 if samples is None else 2
    return Detection(
        level="model",
        scores=[verdict.score],
        threshold=verdict.threshold,
        p_value=None if outside or other else verdict.p_value,
        conclusive=not doubt,
        note=NO_PICTURES + note if unseen else note,
        evidence=seal_evidence(ctx.out / "evidence", model.task, found, names),
        network_evaluations=measurements * params.evaluations(len(names)),
        clean_samples=0 if samples is None else len(samples),
    )


def expectation(
    ctx: Context, params: ClassifierAuditParams, classifier: Classifier, samples: LabelledSamples
) -> dict[str, list[float]]:
    """What is expected of the classes: the measures of the reference, or of a baseline trained on the clean pictures.

    A baseline says nothing of the weights: its own are those of another network, trained on fewer pictures.
    """
    if params.reference:
        other = opened(params.reference, classifier, ctx.work / "reference")
        return audit(other, samples, params, ctx.seed).values
    return of_baseline(audit(trained(ctx, samples, params), samples, params, ctx.seed).values)


def unfit_pictures(classifier: Classifier, samples: LabelledSamples, params: ClassifierAuditParams) -> str:
    """Why nothing can be said by these pictures; "" if they do.

    Raises:
        UserError: there are none.
    """
    if not len(samples):
        raise UserError(
            "classifier-audit needs some clean pictures, and there are none (--data, --data-share); without any it "
            "judges by the weights alone: --set defense:classifier-audit.weights_only=true"
        )
    right = accuracy(classifier, samples)
    if right < LEAST_ACCURACY:
        return (
            f"{CANNOT_TELL}: the model takes only {right:.0%} of the clean pictures for what they are: they are not "
            "like those it was trained on; give others with --data"
        )
    needed = FEWEST_A_CLASS * len(classifier.classes)
    if not params.reference and len(samples) < needed:
        return (
            f"{CANNOT_TELL}: its baseline needs {needed} clean pictures, and there are {len(samples)}; give more, or "
            "a public model of the same classes: --set defense:classifier-audit.reference=MODEL"
        )
    return ""


def out_of_reach(classifier: Classifier, outside: str) -> str:
    """Why no verdict can be given, whatever the measures are; "" if one can."""
    classes = len(classifier.classes)
    if classes < FEWEST_CLASSES:
        return f"{CANNOT_TELL}: it compares classes and needs at least {FEWEST_CLASSES}, this model has {classes}"
    if outside:
        return f"{CANNOT_TELL}: {outside}; calibrate with clean models, `bdm calibrate classifier-audit --model ...`"
    return ""


def described(lead: list[Lead], clean: list[list[float]], classes: list[str], backdoored: bool) -> str:
    """One sentence for the table: the lead that is the most unlike those of clean models."""
    highest = [max(row[place] for row in clean) for place in range(len(lead))]
    most = max(range(len(lead)), key=lambda place: lead[place].size / max(highest[place], 1e-9))
    item = lead[most]
    if item.measure == TOGETHER:
        found = f"{item.size:.2g} standard deviations ahead of the median class in all measures together"
    else:
        found = WORDS[item.measure].format(f"{math.exp(item.size):.2g}")
    more = "more than in clean models" if backdoored else "as in clean models"
    return f"class {classes[item.target]}: {found}, {more}"


def seal_evidence(folder: Path, task: str, found: Audit, classes: list[str]) -> Evidence | None:
    """The smallest patches of the classes that are reached most easily; format ``inverted-trigger``."""
    if found.patches is None:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    sizes = found.values["patch"]
    order = sorted(range(len(sizes)), key=sizes.__getitem__)[:SHOWN]
    pictures = {f"{place + 1:02d} {classes[label]}": found.patches[label].clone() for place, label in enumerate(order)}
    write_tensors(folder / "tensors.safetensors", pictures)
    return Evidence.seal(folder, format="inverted-trigger", task=task)


class _Examinable(NamedTuple):
    """A model, with the shape that a calibration file notes, and another clean model to compare it with."""

    model: Model
    shape: Any
    public: Model | None


def calibrate(ctx: Context, params: ClassifierAuditParams, models: Mapping[str, Model], out: Path) -> None:
    """Write the leads of clean models in every mode, each measured on the reserve of the data it was trained on.

    The first model of the same data and classes is the public one of all others, the second that of the first; one that
    is alone is compared with the baseline in that mode too. Baselines have two seeds by turns, since that of a later
    detection has another one.

    Raises:
        UserError: the data that a model was trained on cannot be had.
    """
    measured: dict[tuple[object, ...], dict[str, list[float]]] = {}

    def values_of(own: Context, model: Model, samples: LabelledSamples) -> dict[str, list[float]]:
        if (model.digest,) not in measured:
            classifier = load_classifier(model, own.device)
            measured[(model.digest,)] = audit(classifier, samples, params, ctx.seed).values
        return measured[(model.digest,)]

    def baseline_of(own: Context, model: Model, samples: LabelledSamples) -> dict[str, list[float]]:
        seed = ctx.seed + own.seed % BASELINES
        if (_kind_of(model), seed) not in measured:
            baseline = trained(replace(own, seed=seed), samples, params)
            measured[(_kind_of(model), seed)] = of_baseline(audit(baseline, samples, params, ctx.seed).values)
        return measured[(_kind_of(model), seed)]

    def features(own: Context, one: _Examinable) -> list[float]:
        samples = open_samples(open_reference(None, one.model, own.work / "data", own.work / "cache"), RESERVE)
        values, baseline = values_of(own, one.model, samples), baseline_of(own, one.model, samples)
        return features_of(values, baseline, values_of(own, one.public, samples) if one.public else baseline)

    known = []
    for name, model in models.items():
        alike = (other for other in models.values() if other is not model and _kind_of(other) == _kind_of(model))
        one = _Examinable(model, model.meta["shape"], next(alike, None))
        known.append(Known(name, one, traits=_traits(load_classifier(model))))
    CALIBRATED.write(ctx, params, known, out, features)


def _kind_of(model: Model) -> tuple[str, ...]:
    return tuple(str(model.meta.get(key)) for key in ("trained_on", "shape", "classes"))


def _shape_of(model: Model) -> list[int]:
    shape: Any = model.meta["shape"]
    return [int(size) for size in shape]


def _traits(classifier: Classifier) -> dict[str, str]:
    return {"classes": f"{len(classifier.classes)} classes"}
