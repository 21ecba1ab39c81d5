"""Non-adversarial backdoor (Liu et al., ICCV 2023, arXiv 2307.15539): the defender's trigger beats the attacker's.

Suspicious rows get a stamp and, in place of their label, a pseudo-label that does not come from labels of such rows.
The trained model has a backdoor of the defender: under the stamp an attacker's trigger means nothing. The stamp is then
put into every input.
"""

from __future__ import annotations

from torch import Tensor

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
from bdm_kit_classification.training.fitting import fit, predict


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
    suspected = most_suspicious(isolation_scores(ctx, start.fresh(ctx.seed), samples, params), params.isolation_rate)
    labels = pseudo_labels(ctx, start.fresh(ctx.seed), samples, suspected, params)
    marked = suspected & (labels != samples.labels)
    classifier = start.fresh(ctx.seed)
    fit(ctx, classifier, with_stamp(samples, marked, labels, stamp), params, label="train with the stamp")
    ctx.figures(rows_suspected=int(suspected.sum()), rows_stamped=int(marked.sum()), rows=len(samples))
    return seal_classifier(stamping(classifier, stamp), ctx.out / "model")


def stamp_for(classifier: Classifier, params: NabParams) -> InputStamp:
    """The stamp. Raises UserError if the model cannot keep one, or if it does not fit."""
    if not isinstance(classifier, ImageClassifier):
        raise UserError("nab puts its stamp into the model, which only the kit's own networks can keep")
    if params.stamp_size > min(classifier.config.shape[1:]):
        raise UserError(f"stamp_size={params.stamp_size} is larger than the pictures {list(classifier.config.shape)}")
    return InputStamp(size=params.stamp_size, top=0, left=0, value=params.stamp_value)


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


def with_stamp(samples: LabelledSamples, marked: Tensor, labels: Tensor, stamp: InputStamp) -> LabelledSamples:
    """The samples, of which marked ones have the stamp and the pseudo-label."""
    rows = marked.nonzero().flatten().tolist()
    new = {row: int(labels[row]) for row in rows}
    return samples.changed(rows, stamped(samples.raw(rows), stamp), new) if rows else samples


def stamping(classifier: Classifier, stamp: InputStamp) -> Classifier:
    """The same classifier, which puts the stamp into its inputs."""
    assert isinstance(classifier, ImageClassifier)
    config = classifier.config.model_copy(update={"stamp": stamp})
    return ImageClassifier(config, classifier.network)
