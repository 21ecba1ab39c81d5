"""Verdict and repair on texts, whose classes are few: sizes are compared by how many times smaller one is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdm_core.artifacts import Data, Evidence, Model
from bdm_core.context import Context
from bdm_core.errors import ArtifactError, UserError
from bdm_core.records import Detection
from bdm_defense_neural_cleanse.params import NeuralCleanseParams
from bdm_defense_neural_cleanse.thresholds import threshold_of
from bdm_defense_neural_cleanse.tokens import Tokens, search, with_vectors, words_of
from bdm_kit_classification.data.opening import open_reference
from bdm_kit_classification.data.samples import RESERVE, open_samples
from bdm_kit_classification.inversion.anomaly import calibration_of, judged, led_nowhere, unfit
from bdm_kit_classification.models.classifier import load_classifier, seal_classifier
from bdm_kit_classification.models.text_classifier import TextClassifier
from bdm_kit_classification.training.fitting import Batch, Changes, fit
from bdm_torch.calibration_file import Calibrated, Known
from bdm_torch.draws import Draw
from bdm_torch.tensors import read_tensors, write_tensors

FORMAT, TENSORS = "inverted-tokens", "tokens.safetensors"
SMALLEST = 0.01
"""Of a size, in tokens, so that a ratio exists."""


def indices(sizes: Tensor) -> Tensor:
    """By how many powers of two each of K sizes is smaller than the median of the others, (K,).

    >>> indices(torch.tensor([0.5, 4.0])).tolist()
    [3.0, -3.0]
    """
    logs = sizes.double().clamp_min(SMALLEST).log2()
    others = [torch.cat([logs[:place], logs[place + 1 :]]).quantile(0.5) for place in range(len(logs))]
    return torch.stack(others) - logs


def detect(ctx: Context, params: NeuralCleanseParams, model: Model, data: Data, calibrated: Calibrated) -> Detection:
    """Judge a model of texts by the class with the smallest trigger.

    Raises:
        UserError: the calibration is none of this defense.
    """
    known = calibration_of(calibrated, params.calibration)
    classifier, samples = cast(TextClassifier, load_classifier(model, ctx.device)), open_samples(data)
    found = search(ctx, classifier, samples, params)
    sizes = found.sizes(params.success)
    unusual = indices(sizes)
    most = int(unusual.argmax())
    verdict = judged(float(unusual[most]), params.threshold, known, params.false_positive_rate)
    note = (
        f"class {classifier.classes[most]}: {sizes[most]:.2f} tokens, like {words_of(classifier, found.hard(most))!r}, "
        f"index {unusual[most]:.2f}"
    )
    threshold = params.threshold if verdict is None else verdict.threshold
    outside = unfit(calibrated, params, known) or led_nowhere(found.success, float(unusual[most]) > threshold)
    doubt = outside or (verdict.doubt if verdict else "")
    ctx.figures(trigger_sizes=sizes.tolist(), anomaly_indices=unusual.tolist(), success=found.success.tolist())
    return Detection(
        level="model",
        scores=[float(unusual[most])],
        threshold=threshold,
        p_value=None if verdict is None or outside else verdict.p_value,
        conclusive=not doubt,
        note=doubt or note + (verdict.resolution if verdict else ""),
        evidence=_seal(ctx.out / "evidence", found, model.task),
        network_evaluations=params.inversion_steps * min(params.inversion_batch, len(samples)) * len(sizes),
        clean_samples=len(samples),
    )


def repair(
    ctx: Context,
    params: NeuralCleanseParams,
    model: Model,
    data: Data,
    detection: Detection | None,
    calibrated: Calibrated,
) -> Model:
    """Train on clean texts, and on a share of them with the soft tokens found and their true labels; sealed.

    Raises:
        UserError: ``repair=prune`` was asked for, or the calibration is none of this defense.
        ArtifactError: the detection's evidence is damaged.
    """
    if params.repair == "prune":
        raise UserError("neural-cleanse prunes no classifier of texts: leave repair=unlearn")
    classifier, samples = cast(TextClassifier, load_classifier(model, ctx.device)), open_samples(data)
    known = _read(detection, len(classifier.classes))
    found = known or search(ctx, classifier, samples, params)
    unusual = indices(found.sizes(params.success))
    threshold = threshold_of(params, float(unusual.max()), calibrated, detection if known else None)
    chosen = (unusual > threshold).nonzero().flatten().tolist() or [int(unusual.argmax())]
    triggers = found.vectors[chosen].to(classifier.device)
    ctx.figures(removed_targets=[classifier.classes[place] for place in chosen])

    def loss(model: nn.Module, batch: Batch, draw: Draw) -> Tensor:
        chance, which = draw.uniform(), (draw.uniform() * len(triggers)).long()
        total = functional.cross_entropy(model(batch.inputs), batch.labels)
        rows = (chance < params.stamped).nonzero().flatten().to(batch.inputs.device)
        if len(rows):
            logits = with_vectors(classifier, batch.inputs[rows], triggers[which[rows]])
            total = total + functional.cross_entropy(logits, batch.labels[rows])
        return total

    fit(ctx, classifier, samples, params, Changes(loss=loss), label="unlearn the trigger")
    return seal_classifier(classifier, ctx.out / "model")


def calibrate(
    ctx: Context, params: NeuralCleanseParams, models: Mapping[str, Model], out: Path, calibrated: Calibrated
) -> None:
    """Write the indices of clean models, each examined with the reserve of the data it was trained on.

    Raises:
        UserError: the data that a model was trained on cannot be had.
    """

    def score(own: Context, one: Examinable) -> list[float]:
        data = open_reference(None, one.model, own.work / "data", own.work / "cache")
        classifier = cast(TextClassifier, load_classifier(one.model, own.device))
        found = search(own, classifier, open_samples(data, RESERVE), params)
        return [float(indices(found.sizes(params.success)).max())]

    known = [Known(name, Examinable(model, ())) for name, model in models.items()]
    calibrated.write(ctx, params, known, out, score)


class Examinable(NamedTuple):
    """A model, and the shape of its samples, which texts have none of."""

    model: Model
    shape: tuple[int, ...]


def _seal(folder: Path, found: Tokens, task: str) -> Evidence:
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / TENSORS, dict(vars(found)))
    return Evidence.seal(folder, format=FORMAT, task=task)


def _read(detection: Detection | None, classes: int) -> Tokens | None:
    evidence = detection.evidence if detection is not None else None
    if evidence is None or evidence.format != FORMAT:
        return None
    path = evidence.file(TENSORS)
    tensors = read_tensors(path)
    if set(tensors) != {"strengths", "tokens", "success", "vectors"} or {len(each) for each in tensors.values()} != {
        classes
    }:
        raise ArtifactError(f"{path} holds no tokens of {classes} classes: detect again")
    return Tokens(**tensors)
