"""What the kit's hooks do: samples in, logits and features out."""

from __future__ import annotations

import random
from collections.abc import Generator
from pathlib import Path
from typing import Any

import torch

from bdm_core.artifacts import Data, Model, Outputs, Secret, rows_of
from bdm_core.context import Context
from bdm_core.errors import ArtifactError
from bdm_kit_classification.data.absent import is_absent, seal_absent
from bdm_kit_classification.data.samples import INPUTS, TEST, LabelledSamples, open_samples, seal_samples
from bdm_kit_classification.modalities.registry import modality_of
from bdm_kit_classification.models.classifier import load_classifier
from bdm_kit_classification.params import ClassificationKitParams
from bdm_kit_classification.poison.secret import Backdoor, open_secret, seal_secret
from bdm_kit_classification.predictions import load_predictions, seal_predictions
from bdm_kit_classification.training.fitting import Predictions, predict
from bdm_kit_classification.triggers.label_rule import LabelRule
from bdm_kit_classification.triggers.trigger import apply_in_batches
from bdm_torch import passes


def kit_params(ctx: Context) -> ClassificationKitParams:
    """The kit's parameters in a context; their defaults if there is no kit."""
    return ctx.kit if isinstance(ctx.kit, ClassificationKitParams) else ClassificationKitParams()


def accounted(ctx: Context, data: Data | None) -> Generator[None, Any, Any]:
    """:func:`bdm_torch.passes.accounted`; a stand-in for data has no rows."""
    return (yield from passes.accounted(ctx, None if data is None or is_absent(data) else data))


def make_inputs(ctx: Context, data: Data, count: int | None) -> Data:
    """Test rows in random order, at most ``count``; sealed in ``ctx.out / "data"``. Of a stand-in for data another one.

    Raises:
        ArtifactError: the data have no test part.
    """
    if is_absent(data):
        return seal_absent(ctx.out / "data", data)
    if not data.meta.get(TEST):
        raise ArtifactError(f"{data.path} has no test rows: evaluation needs some")
    test = open_samples(data, TEST)
    order = list(range(len(test)))
    random.Random(ctx.seed).shuffle(order)
    chosen = test.pick(order[:count])
    for row, fact in zip(order, chosen.facts, strict=False):
        fact["id"] = row
    return seal_samples(ctx.out / "data", chosen, format=INPUTS)


def trigger_rows(ctx: Context, inputs: Data, secret: Secret) -> Data:
    """Put the secret's trigger into every row, in the same order; sealed in ``ctx.out / "data"``.

    Rows keep their true label: who scores must leave out those that tell nothing (the target class).
    """
    samples, backdoor = open_samples(inputs), open_secret(secret)
    raw = apply_in_batches(backdoor.trigger, samples.raw(), "test", ctx.seed)
    changed = samples.changed(range(len(samples)), raw)
    return seal_samples(ctx.out / "data", changed, format=INPUTS)


def generate(ctx: Context, model: Model, inputs: Data) -> Outputs:
    """Logits and features of each row; sealed in ``ctx.out / "outputs"``, with what the rows say of label and id."""
    samples = open_samples(inputs)
    classifier = load_classifier(model, ctx.device)
    if len(classifier.classes) != len(samples.classes):
        raise ArtifactError(
            f"{inputs.path} has {len(samples.classes)} classes, the model {len(classifier.classes)}: they do not fit"
        )
    found = predict(classifier, samples, kit_params(ctx).batch_size)
    if not bool(found.logits.isfinite().all()):
        raise ArtifactError(f"{model.path}: the logits of some samples are not finite")
    return seal_predictions(ctx.out / "outputs", found, samples)


def tiny_secret(folder: Path, model: Model) -> Secret:
    """The modality's example of a trigger and target 0, for tests of metrics."""
    classes: Any = model.meta["classes"]
    stored, trigger = modality_of(model.task).example(model)
    rule = LabelRule(kind="all-to-one", classes=len(classes), target=0)
    examples = LabelledSamples(stored, torch.ones(len(stored), dtype=torch.int64), list(classes), model.task)
    return seal_secret(folder, Backdoor(rule, trigger), examples, 0)


def perfect_outputs(folder: Path, outputs: Outputs, secret: Secret) -> Outputs:
    """As many predictions as ``outputs`` has, all of the wanted class, for samples of one and the same class."""
    plain, rule = load_predictions(outputs), open_secret(secret).rule
    label = next(label for label in range(rule.classes) if rule.eligible(label))
    wanted = rule.wanted(label)
    logits = torch.zeros_like(plain.logits)
    logits[:, wanted if wanted is not None else (label + 1) % rule.classes] = 1.0
    labels = torch.full((len(logits),), label)
    facts = [{key: value for key, value in row.items() if key != "label"} for row in rows_of(outputs)]
    found = Predictions(logits, torch.zeros_like(plain.features))
    classes: Any = outputs.meta["classes"]
    return seal_predictions(folder, found, LabelledSamples(labels, labels, list(classes), outputs.task, facts))
