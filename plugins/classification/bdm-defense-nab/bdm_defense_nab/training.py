"""Non-adversarial backdoor (Liu et al., ICCV 2023, arXiv 2307.15539): the defender's trigger beats the attacker's.

Suspicious rows get a stamp and, in place of their label, a pseudo-label that does not come from labels of such rows.
The trained model has a backdoor of the defender: under the stamp an attacker's trigger means nothing. The stamp is then
put into every input.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_defense_nab.params import NabParams
from bdm_kit_classification.data.samples import LabelledSamples, open_samples
from bdm_kit_classification.defending.isolation import isolation_scores, most_suspicious
from bdm_kit_classification.defending.pseudo_labels import nearest_centres
from bdm_kit_classification.models.classifier import Classifier, load_classifier, seal_classifier
from bdm_kit_classification.models.image_classifiers import ImageClassifier, stamped
from bdm_kit_classification.models.image_folder import InputStamp
from bdm_kit_classification.training.contrastive import learn_features
from bdm_kit_classification.training.fitting import Batch, Changes, fit, predict
from bdm_torch.draws import Draw


def train(ctx: Context, params: NabParams, model: Model, training_data: Data) -> Model:
    """Train the architecture of ``model`` on poisoned rows; the stamp is part of the model that is sealed.

    Args:
        ctx: of the stage; the model is sealed in ``ctx.out / "model"``.
        params: of all parts.
        model: says the architecture; its weights are not used.
        training_data: the rows, some of them poisoned.

    Raises:
        UserError: the model is none of the kit's own networks, or the stamp is larger than its pictures.
    """
    start, samples = load_classifier(model), open_samples(training_data)
    stamp = stamp_for(start, params)
    warn_of_idle(ctx, start, samples, stamp)
    suspected = most_suspicious(isolation_scores(ctx, start.fresh(ctx.seed), samples, params), params.isolation_rate)
    labels = pseudo_labels(ctx, start.fresh(ctx.seed), samples, suspected, params)
    marked = suspected & (labels != samples.labels)
    classifier = start.fresh(ctx.seed)
    train_stamped(ctx, classifier, samples, marked, labels, stamp, params)
    ctx.figures(rows_suspected=int(suspected.sum()), rows_stamped=int(marked.sum()), rows=len(samples))
    return seal_classifier(stamping(classifier, stamp), ctx.out / "model")


def stamp_for(classifier: Classifier, params: NabParams) -> InputStamp:
    """The stamp. Raises UserError if the model cannot keep one, or if it does not fit."""
    if not isinstance(classifier, ImageClassifier):
        raise UserError("nab puts its stamp into the model, which only the kit's own networks can keep")
    if params.stamp_size > min(classifier.config.shape[1:]):
        raise UserError(f"stamp_size={params.stamp_size} is larger than the pictures {list(classifier.config.shape)}")
    return InputStamp(size=params.stamp_size, top=0, left=0, value=params.stamp_value)


def warn_of_idle(ctx: Context, classifier: Classifier, samples: LabelledSamples, stamp: InputStamp) -> None:
    """Warn if the stamp leaves more than half of the rows as they are: under it they cannot mean something else."""
    same = 0
    for _, raw in samples.split(256):
        inputs = samples.modality.collate(raw, classifier)
        same += int(((stamped(inputs, stamp) - inputs).abs().flatten(1).amax(1) < 1 / 255).sum())
    if 2 * same > len(samples):
        ctx.log.warning(
            "the stamp of nab changes only %d of %d rows: choose another stamp_value, or a larger stamp_size",
            len(samples) - same,
            len(samples),
        )


def pseudo_labels(
    ctx: Context, classifier: Classifier, samples: LabelledSamples, suspected: Tensor, params: NabParams
) -> Tensor:
    """The nearest class centre of each row, (N,), in features that were learnt without labels; others make centres."""
    update = {
        "epochs": params.contrastive_epochs,
        "batch_size": min(params.contrastive_batch, len(samples)),
        "learning_rate": params.contrastive_learning_rate,
    }
    training = params.model_copy(update=update)
    learn_features(ctx, classifier, samples, training, temperature=params.temperature, strength=params.strength)
    features = predict(classifier, samples).features
    return nearest_centres(features, samples.labels, ~suspected, len(samples.classes))


def train_stamped(
    ctx: Context,
    classifier: Classifier,
    samples: LabelledSamples,
    marked: Tensor,
    labels: Tensor,
    stamp: InputStamp,
    params: NabParams,
) -> None:
    """Train in place; marked rows (N,) bool have the stamp and their pseudo-label of ``labels`` (N,)."""

    def loss(model: nn.Module, batch: Batch, draw: Draw) -> Tensor:
        inputs = with_stamp(batch.inputs, marked[batch.rows], stamp)
        return functional.cross_entropy(model(inputs), batch.labels, label_smoothing=params.label_smoothing)

    relabelled = replace(samples, labels=torch.where(marked, labels, samples.labels))
    fit(ctx, classifier, relabelled, params, Changes(loss=loss), label="train with the stamp")


def with_stamp(inputs: Tensor, marked: Tensor, stamp: InputStamp) -> Tensor:
    """Inputs (b, C, H, W), of which marked ones (b,) have the stamp: after augmentation, so that it is where the model
    puts it.
    """
    return torch.where(marked.to(inputs.device)[:, None, None, None], stamped(inputs, stamp), inputs)


def stamping(classifier: Classifier, stamp: InputStamp) -> Classifier:
    """The same classifier, which puts the stamp into its inputs."""
    assert isinstance(classifier, ImageClassifier)
    config = classifier.config.model_copy(update={"stamp": stamp})
    return ImageClassifier(config, classifier.network)
