"""D-ST (Chen et al., NeurIPS 2022): features without the labels of suspicious rows, then a head that unlearns some."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_defense_d_st.params import DstParams
from bdm_kit_classification.data.samples import LabelledSamples, open_samples
from bdm_kit_classification.defending.consistency import distinguish
from bdm_kit_classification.models.classifier import Classifier, load_classifier, seal_classifier
from bdm_kit_classification.training.contrastive import UNLABELLED, fit_head, learn_features
from bdm_kit_classification.training.fitting import Batch, Changes
from bdm_torch.draws import Draw


def train(ctx: Context, params: DstParams, model: Model, training_data: Data) -> Model:
    """Train the architecture of ``model`` on poisoned rows; sealed in ``ctx.out / "model"``.

    Args:
        ctx: of the stage.
        params: of all parts.
        model: says the architecture; its weights are not used.
        training_data: the rows, some of them poisoned.
    """
    samples, start = open_samples(training_data), load_classifier(model)
    found = distinguish(ctx, start.fresh(ctx.seed), samples, params)
    classifier = start.fresh(ctx.seed)
    classifier.trained_on = start.trained_on
    labels = torch.where(found.clean, samples.labels, UNLABELLED)
    how = {"temperature": params.temperature, "strength": params.strength}
    learn_features(ctx, classifier, samples, params, labels=labels, **how)
    clean, poisoned = samples.pick(found.clean), samples.pick(found.poisoned)
    mixed_cross_entropy(ctx, classifier, clean, poisoned, params)
    ctx.figures(rows_taken_for_clean=len(clean), rows_taken_for_poisoned=len(poisoned), rows=len(samples))
    return seal_classifier(classifier, ctx.out / "model")


def mixed_cross_entropy(
    ctx: Context, classifier: Classifier, clean: LabelledSamples, poisoned: LabelledSamples, params: DstParams
) -> None:
    """Train the head: down the cross entropy of clean rows, and up that of poisoned ones, which is bounded."""

    def loss(model: nn.Module, batch: Batch, draw: Draw) -> Tensor:
        rows = draw.integers(len(poisoned))
        inputs = poisoned.modality.collate(poisoned.raw(rows), classifier)
        labels = torch.cat([batch.labels, poisoned.labels[rows].to(batch.labels)])
        each = functional.cross_entropy(model(torch.cat([batch.inputs, inputs])), labels, reduction="none")
        learnt, unlearnt = each.chunk(2)
        return learnt.mean() - params.poisoned_weight * unlearnt.clamp_max(params.highest_loss).mean()

    update = {"epochs": params.head_epochs, "learning_rate": params.head_learning_rate}
    training = params.model_copy(update=update)
    fit_head(ctx, classifier, clean, training, Changes(loss=loss), label="train the last layer")
