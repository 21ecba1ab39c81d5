"""Decoupling-Based Defense (Huang et al., ICLR 2022, arXiv 2202.03423).

Features are learnt without labels, so that the poisoned rows do not come together; a last layer is trained on them,
and rows that it fits well keep their labels; the others lose theirs, and the whole network is fine-tuned on both.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_defense_dbd.losses import larger_shares, mixed, sharpened, symmetric_cross_entropy
from bdm_defense_dbd.params import DbdParams
from bdm_kit_classification.data.samples import LabelledSamples, open_samples
from bdm_kit_classification.models.classifier import Classifier, load_classifier, seal_classifier
from bdm_kit_classification.training.contrastive import fit_head, learn_features
from bdm_kit_classification.training.fitting import Batch, Changes, fit, predict
from bdm_torch.draws import Draw


def train(ctx: Context, params: DbdParams, model: Model, training_data: Data) -> Model:
    """Train the architecture of ``model`` on poisoned rows; sealed in ``ctx.out / "model"``.

    Args:
        ctx: of the stage.
        params: of all three parts.
        model: says the architecture; its weights are not used.
        training_data: the rows, some of them poisoned.
    """
    samples, start = open_samples(training_data), load_classifier(model)
    classifier = start.fresh(ctx.seed)
    classifier.trained_on = start.trained_on
    update = {
        "epochs": params.contrastive_epochs,
        "batch_size": min(params.contrastive_batch, len(samples)),
        "learning_rate": params.contrastive_learning_rate,
        "optimizer": "auto",  # those of the other parts are not this one's
        "schedule": "cosine",
    }
    pretraining = params.model_copy(update=update)
    learn_features(ctx, classifier, samples, pretraining, temperature=params.temperature, strength=params.strength)
    train_head(ctx, classifier, samples, params)
    credible = credible_rows(predict(classifier, samples).logits, samples.labels, params.credible_share)
    fine_tune(ctx, classifier, samples.pick(credible), samples.pick(~credible), params)
    ctx.figures(rows_with_labels=int(credible.sum()), rows=len(samples))
    return seal_classifier(classifier, ctx.out / "model")


def train_head(ctx: Context, classifier: Classifier, samples: LabelledSamples, params: DbdParams) -> None:
    """The last layer on features as they are, by symmetric cross entropy."""

    def loss(model: nn.Module, batch: Batch, draw: Draw) -> Tensor:
        return symmetric_cross_entropy(model(batch.inputs), batch.labels).mean()

    update = {"epochs": params.head_epochs, "learning_rate": params.head_learning_rate}
    training = params.model_copy(update=update)
    fit_head(ctx, classifier, samples, training, Changes(loss=loss), label="train the last layer")


def credible_rows(logits: Tensor, labels: Tensor, share: float) -> Tensor:
    """Which rows keep their label, (N,) bool: the share with the lowest symmetric cross entropy.

    >>> logits = torch.tensor([[5.0, 0.0], [0.0, 5.0], [0.0, 5.0], [5.0, 0.0]])
    >>> credible_rows(logits, torch.tensor([0, 0, 1, 1]), 0.5).tolist()
    [True, False, True, False]
    """
    order = symmetric_cross_entropy(logits, labels).argsort(stable=True)
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    chosen[order[: max(1, round(share * len(labels)))]] = True
    return chosen


@dataclass(frozen=True)
class MixMatch:
    """The loss of a batch of rows with labels and as many without (Berthelot et al. 2019, arXiv 1905.02249).

    Attributes:
        classifier: guesses labels, in evaluation mode.
        unlabelled: rows without labels.
        params: of the fine-tuning.
        steps: of the whole training; the weight of rows without labels grows linearly until then.
    """

    classifier: Classifier
    unlabelled: LabelledSamples
    params: DbdParams
    steps: int

    def __call__(self, model: nn.Module, batch: Batch, draw: Draw) -> Tensor:
        """Cross entropy of mixed rows with labels, and squared distance of shares for those without."""
        modality, params = self.unlabelled.modality, self.params
        count, classes = len(batch.labels), len(self.classifier.classes)
        rows = draw.integers(len(self.unlabelled))
        plain = modality.collate(self.unlabelled.raw(rows), self.classifier)
        views = [modality.distort(plain, draw, params.mixing_strength) for _ in range(2)]
        known = modality.distort(batch.inputs, draw, params.mixing_strength)
        with torch.no_grad():
            self.classifier.eval()
            guesses = torch.stack([self.classifier(view).softmax(1) for view in views]).mean(0)
            self.classifier.train()
        guesses = sharpened(guesses, params.sharpness)
        inputs = torch.cat([known, *views])
        targets = torch.cat([functional.one_hot(batch.labels, classes).to(guesses), guesses, guesses])
        order = torch.randperm(len(inputs), generator=draw.generator)
        shares = larger_shares(len(inputs), params.mixture, draw.generator).to(inputs)
        logits = model(mixed(inputs, inputs[order], shares))
        targets = mixed(targets, targets[order], shares)
        learnt = functional.cross_entropy(logits[:count], targets[:count])
        guessed = (logits[count:].softmax(1) - targets[count:]).square().mean()
        return learnt + params.unlabelled_weight * min(1.0, (draw.step + 1) / self.steps) * guessed


def fine_tune(
    ctx: Context, classifier: Classifier, credible: LabelledSamples, others: LabelledSamples, params: DbdParams
) -> None:
    """Fine-tune all layers on rows with labels and rows without, in place."""
    epochs = max(1, round(params.epochs / params.credible_share))
    training = params.model_copy(update={"epochs": epochs, "shift": 0, "flip": False})
    loss = MixMatch(classifier, others, params, training.steps(len(credible)))
    fit(ctx, classifier, credible, training, Changes(loss=loss), label="semi-supervised fine-tuning")
