"""Anti-Backdoor Learning (Li et al. 2021, arXiv 2110.11571): isolation, training on the rest, unlearning."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.records import Detection
from bdm_defense_abl.params import AblParams
from bdm_kit_classification.data.samples import LabelledSamples, open_samples
from bdm_kit_classification.defending.flagged import flagged_rows, rows_above
from bdm_kit_classification.defending.isolation import isolation_scores, most_suspicious
from bdm_kit_classification.models.classifier import Classifier, load_classifier, seal_classifier
from bdm_kit_classification.training.fitting import Batch, Changes, fit
from bdm_torch.draws import Draw


def detect(ctx: Context, params: AblParams, suspects: Data) -> Detection:
    """The rows that a small network of the defender's own learns too fast; a share ``isolation_rate`` is flagged."""
    samples = open_samples(suspects)
    classifier = samples.modality.small_classifier(samples.stored, samples.classes, ctx.seed)
    scores = isolation_scores(ctx, classifier, samples, params)
    passes = params.isolation_epochs * len(samples)
    return rows_above(scores, params.isolation_rate, "rows that are learnt first", network_evaluations=passes)


def train(ctx: Context, params: AblParams, model: Model, detection: Detection | None, training_data: Data) -> Model:
    """Train the architecture of ``model`` so that no backdoor stays; sealed in ``ctx.out / "model"``.

    Args:
        ctx: of the stage.
        params: of all three parts.
        model: says the architecture; its weights are not used.
        detection: of training rows: those it flags are isolated; else they are found here.
        training_data: the rows, some of them poisoned.
    """
    samples = open_samples(training_data)
    start = load_classifier(model)
    classifier = start.fresh(ctx.seed)
    classifier.trained_on = start.trained_on
    isolated = flagged_rows(detection, len(samples))
    if isolated is None:
        isolated = most_suspicious(isolation_scores(ctx, classifier, samples, params), params.isolation_rate)
    rest, bad = samples.pick(~isolated), samples.pick(isolated)
    fit(ctx, classifier, rest, params, label="train on the other rows")
    unlearn(ctx, classifier, rest, bad, params)
    ctx.figures(rows_isolated=len(bad), rows=len(samples))
    return seal_classifier(classifier, ctx.out / "model")


def unlearn(
    ctx: Context, classifier: Classifier, rest: LabelledSamples, bad: LabelledSamples, params: AblParams
) -> None:
    """Cross entropy of the other rows minus that of isolated ones (equation 4), or the latter alone; in place.

    The loss of isolated rows is bounded. Batch normalisation is in training mode: keeping the statistics of the
    training was tried and ended at chance on mnist-5k.
    """

    def both(model: nn.Module, batch: Batch, draw: Draw) -> Tensor:
        rows = draw.integers(len(bad))
        inputs = bad.modality.collate(bad.raw(rows), classifier)
        labels = torch.cat([batch.labels, bad.labels[rows].to(batch.labels)])
        each = functional.cross_entropy(model(bad.modality.beside(batch.inputs, inputs)), labels, reduction="none")
        learnt, unlearnt = each.chunk(2)
        return learnt.mean() - unlearnt.clamp_max(params.highest_loss).mean()

    def isolated(model: nn.Module, batch: Batch, draw: Draw) -> Tensor:
        each = functional.cross_entropy(model(batch.inputs), batch.labels, reduction="none")
        return -each.clamp_max(params.highest_loss).mean()

    update = {"epochs": params.unlearning_epochs, "learning_rate": params.unlearning_learning_rate}
    if params.unlearning == "isolated":  # as they are: augmentation is for the other rows
        update.update(shift=0, flip=False)
    training = params.model_copy(update=update)
    rows, loss = (rest, both) if params.unlearning == "both" else (bad, isolated)
    fit(ctx, classifier, rows, training, Changes(loss=loss), label="unlearn")
