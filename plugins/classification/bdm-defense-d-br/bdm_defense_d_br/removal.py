"""D-BR (Chen et al., NeurIPS 2022): rows are told apart, then the model unlearns some and relearns others."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.records import Detection
from bdm_defense_d_br.params import DbrParams
from bdm_kit_classification.data.samples import LabelledSamples, open_samples
from bdm_kit_classification.defending.consistency import distinguish, least_suspicious
from bdm_kit_classification.defending.flagged import flagged_rows, rows_above
from bdm_kit_classification.models.classifier import Classifier, load_classifier, seal_classifier
from bdm_kit_classification.training.fitting import Batch, Changes, fit
from bdm_torch.draws import Draw


def detect(ctx: Context, params: DbrParams, model: Model, suspects: Data) -> Detection:
    """The rows whose features change most under transformations; a share ``poisoned_share`` is flagged."""
    samples = open_samples(suspects)
    found = distinguish(ctx, load_classifier(model).fresh(ctx.seed), samples, params)
    epochs = params.warmup_epochs + params.compact_epochs + params.transformations + 1
    return rows_above(
        found.scores,
        params.poisoned_share,
        "those whose features change most under transformations",
        network_evaluations=epochs * len(samples),
    )


def remove(ctx: Context, params: DbrParams, model: Model, detection: Detection | None, training_data: Data) -> Model:
    """Unlearn rows taken for poisoned and relearn those taken for clean; sealed in ``ctx.out / "model"``.

    Args:
        ctx: of the stage.
        params: of both parts.
        model: the backdoored model.
        detection: of training rows: those it flags are unlearnt, the least suspicious are relearnt; else both are found
            here.
        training_data: the rows, some of them poisoned.
    """
    samples = open_samples(training_data)
    classifier = load_classifier(model)
    poisoned = flagged_rows(detection, len(samples))
    if detection is None or poisoned is None:
        found = distinguish(ctx, classifier.fresh(ctx.seed), samples, params)
        clean, poisoned = found.clean, found.poisoned
    else:
        clean = least_suspicious(torch.tensor(detection.scores), samples.labels, params) & ~poisoned
    unlearn_and_relearn(ctx, classifier, samples.pick(clean), samples.pick(poisoned), params)
    ctx.figures(rows_relearnt=int(clean.sum()), rows_unlearnt=int(poisoned.sum()), rows=len(samples))
    return seal_classifier(classifier, ctx.out / "model")


def unlearn_and_relearn(
    ctx: Context, classifier: Classifier, clean: LabelledSamples, poisoned: LabelledSamples, params: DbrParams
) -> None:
    """Steps by turns: up the cross entropy of poisoned rows, and down that of clean ones; in place."""

    def loss(model: nn.Module, batch: Batch, draw: Draw) -> Tensor:
        if draw.step % 2:
            return functional.cross_entropy(model(batch.inputs), batch.labels)
        rows = draw.integers(len(poisoned))
        inputs = poisoned.modality.collate(poisoned.raw(rows), classifier)
        if params.shift or params.flip:
            inputs = poisoned.modality.augment(inputs, draw, params.shift, params.flip)
        labels = poisoned.labels[rows].to(batch.labels)
        each = functional.cross_entropy(model(inputs), labels, reduction="none")
        return -each.clamp_max(params.highest_loss).mean()

    twice = params.model_copy(update={"epochs": 2 * params.epochs})
    fit(ctx, classifier, clean, twice, Changes(loss=loss, evaluation_mode=True), label="unlearn and relearn")
