"""From the measures of a classifier to a verdict, and to the file of clean models that it is judged by."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from bdm_core.artifacts import Data, Evidence, Model
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_core.records import Detection
from bdm_defense_classifier_audit.audit import Audit, audit
from bdm_defense_classifier_audit.decision import CALIBRATED, FEWEST_CLASSES, Lead, decide, leads
from bdm_defense_classifier_audit.params import ClassifierAuditParams
from bdm_kit_classification.data.opening import open_reference
from bdm_kit_classification.data.samples import RESERVE, LabelledSamples, open_samples
from bdm_kit_classification.models.classifier import Classifier, load_classifier
from bdm_kit_classification.training.fitting import accuracy
from bdm_torch.calibration_file import Known
from bdm_torch.tensors import write_tensors

LEAST_ACCURACY = 0.7
"""A model that takes fewer of the clean pictures for what they are is not judged on them."""
CANNOT_TELL = "cannot tell"
SHOWN = 6


def detect(ctx: Context, params: ClassifierAuditParams, model: Model, data: Data) -> Detection:
    """Judge a classifier; the evidence is sealed in ``ctx.out / "evidence"``.

    Raises:
        UserError: no clean picture; the calibration is none of this defense.
        ArtifactError: the model's answers are not finite.
    """
    known = CALIBRATED.read(params.calibration)
    for warning in CALIBRATED.warnings(params, known):
        ctx.log.warning(warning)
    classifier, samples = load_classifier(model, ctx.device), open_samples(data)
    if not len(samples):
        raise UserError("classifier-audit needs some clean pictures, and there are none (--data, --data-share)")
    found = audit(classifier, samples, params, ctx.seed)
    lead = leads(found.values)
    verdict = decide(lead, known, params.false_positive_rate)
    outside = out_of_reach(classifier, samples, known.outside(_shape(samples), _traits(classifier)))
    doubt = outside or verdict.doubt
    names = classifier.classes
    ctx.figures(values=found.values, leads={item.measure: [item.size, names[item.target]] for item in lead})
    return Detection(
        level="model",
        scores=[verdict.score],
        threshold=verdict.threshold,
        p_value=None if outside else verdict.p_value,
        conclusive=not doubt,
        note=doubt or described(lead, known.clean(), names, verdict.backdoored) + verdict.resolution,
        evidence=seal_evidence(ctx.out / "evidence", model.task, found, names),
        network_evaluations=params.evaluations(len(names)),
        clean_samples=len(samples),
    )


def out_of_reach(classifier: Classifier, samples: LabelledSamples, outside: str) -> str:
    """Why no verdict can be given, whatever the measures are; "" if one can."""
    classes = len(classifier.classes)
    if classes < FEWEST_CLASSES:
        return f"{CANNOT_TELL}: it compares classes and needs at least {FEWEST_CLASSES}, this model has {classes}"
    right = accuracy(classifier, samples)
    if right < LEAST_ACCURACY:
        return (
            f"{CANNOT_TELL}: the model takes only {right:.0%} of the clean pictures for what they are: they are not "
            "like those it was trained on; give others with --data"
        )
    if outside:
        return f"{CANNOT_TELL}: {outside}; calibrate with clean models, `bdm calibrate classifier-audit --model ...`"
    return ""


def described(lead: list[Lead], clean: list[list[float]], classes: list[str], backdoored: bool) -> str:
    """One sentence for the table: the lead that is the most unlike those of clean models."""
    highest = [max(row[place] for row in clean) for place in range(len(lead))]
    most = max(range(len(lead)), key=lambda place: lead[place].size / max(highest[place], 1e-9))
    item = lead[most]
    words = {
        "patch": "a patch that leads to it is {} times smaller than for any other",
        "added": "a picture that leads to it when added is {} times smaller than for any other",
        "warp": "a warp that leads to it is {} times smaller than for any other",
        "margin": "its margin over all others can be {} times larger than that of any other",
    }[item.measure]
    ratio = f"{2.718281828**item.size:.2g}"
    more = "more than in clean models" if backdoored else "as in clean models"
    return f"class {classes[item.target]}: {words.format(ratio)}, {more}"


def seal_evidence(folder: Path, task: str, found: Audit, classes: list[str]) -> Evidence:
    """The smallest patches of the classes that are reached most easily; format ``inverted-trigger``."""
    folder.mkdir(parents=True, exist_ok=True)
    sizes = found.values["patch"]
    order = sorted(range(len(sizes)), key=sizes.__getitem__)[:SHOWN]
    pictures = {f"{place + 1:02d} {classes[label]}": found.patches[label].clone() for place, label in enumerate(order)}
    write_tensors(folder / "tensors.safetensors", pictures)
    return Evidence.seal(folder, format="inverted-trigger", task=task)


class _Examinable(NamedTuple):
    """A model, with the shape that a calibration file notes."""

    model: Model
    shape: Any


def calibrate(ctx: Context, params: ClassifierAuditParams, models: Mapping[str, Model], out: Path) -> None:
    """Write the leads of clean models, each measured on the reserve of the data it was trained on.

    Raises:
        UserError: the data that a model was trained on cannot be had.
    """

    def measured(own: Context, one: _Examinable) -> list[float]:
        data = open_reference(None, one.model, own.work / "data", own.work / "cache")
        classifier = load_classifier(one.model, own.device)
        return [item.size for item in leads(audit(classifier, open_samples(data, RESERVE), params, own.seed).values)]

    known = [
        Known(name, _Examinable(model, model.meta["shape"]), traits=_traits(load_classifier(model)))
        for name, model in models.items()
    ]
    CALIBRATED.write(ctx, params, known, out, measured)


def _shape(samples: LabelledSamples) -> list[int]:
    return samples.modality.shape(samples.stored)


def _traits(classifier: Classifier) -> dict[str, str]:
    return {"classes": f"{len(classifier.classes)} classes"}
