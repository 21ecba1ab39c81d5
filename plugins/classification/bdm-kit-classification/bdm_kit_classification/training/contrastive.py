"""Contrastive learning of features: without labels (SimCLR), with labels, or with those of some rows."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdm_core.context import Context
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.models.classifier import Classifier
from bdm_kit_classification.training.fitting import Batch, Changes, fit
from bdm_kit_classification.training.params import ClassifierTraining
from bdm_torch.draws import Draw, built_with_seed
from bdm_torch.objective import Along

PROJECTED = 64
UNLABELLED = -1


def contrastive_loss(one: Tensor, other: Tensor, temperature: float, labels: Tensor | None = None) -> Tensor:
    """How much nearer a view is to its positives than to all other views of the batch.

    Without labels the only positive of a view is the other view of its row (NT-Xent; Chen et al. 2020, arXiv
    2002.05709, equation 1). With labels the views of rows of the same class are positives too (Khosla et al. 2020,
    arXiv 2004.11362, equation 2); a row with the label -1 has none but its own.

    Args:
        one, other: (b, D), two views of b rows; they are normalised here.
        temperature: by which cosines are divided.
        labels: (b,) int64.

    >>> one = torch.eye(2)
    >>> round(float(contrastive_loss(one, one, temperature=1.0)), 4)  # log(e + 2) - 1
    0.5514
    """
    views = functional.normalize(torch.cat([one, other]), dim=1)
    count = len(one)
    near = views @ views.T / temperature
    itself = torch.eye(2 * count, dtype=torch.bool, device=views.device)
    log_share = near - near.masked_fill(itself, float("-inf")).logsumexp(1, keepdim=True)
    row = torch.arange(count, device=views.device).repeat(2)
    positive = row[:, None] == row
    if labels is not None:
        known = labels.to(views.device).repeat(2)
        positive = positive | ((known[:, None] == known) & (known != UNLABELLED))
    positive = positive & ~itself
    return -((log_share.masked_fill(~positive, 0).sum(1)) / positive.sum(1)).mean()


def projection(features: int, seed: int) -> nn.Module:
    """A head with one hidden layer, (b, F) to (b, 64), drawn from the seed; contrastive losses see what it gives."""
    return built_with_seed(
        seed, lambda: nn.Sequential(nn.Linear(features, features), nn.ReLU(), nn.Linear(features, PROJECTED))
    )


def learn_features(
    ctx: Context,
    classifier: Classifier,
    samples: LabelledSamples,
    params: ClassifierTraining,
    *,
    temperature: float,
    strength: float = 1.0,
    labels: Tensor | None = None,
) -> None:
    """Train everything of a classifier but its head, in place, by the contrastive loss of two distorted views a row.

    Args:
        ctx: of the stage.
        classifier: what is trained.
        samples: rows; their own labels are not looked at.
        params: of this training.
        temperature: of the loss.
        strength: of :meth:`Modality.distort`.
        labels: (N,) the labels that may be used, -1 for none; None: no label at all.

    Raises:
        UserError: the modality has no strong random changes.
    """
    modality = samples.modality
    network = projection(classifier.head.in_features, ctx.seed)

    def loss(model: nn.Module, batch: Batch, draw: Draw) -> Tensor:
        views = torch.cat([modality.distort(batch.inputs, draw, strength) for _ in range(2)])
        one, other = network(classifier.features(views)).chunk(2)
        return contrastive_loss(one, other, temperature, None if labels is None else labels[batch.rows])

    plain = params.model_copy(update={"shift": 0, "flip": False})
    how = params.options(len(samples), classifier.suited)
    along = {"projection": Along(network, how.learning_rate, how.optimizer, how.momentum)}
    classifier.head.requires_grad_(False)
    fit(ctx, classifier, samples, plain, Changes(loss=loss, along=along), label="contrastive learning")
    classifier.head.requires_grad_(True)


def fit_head(
    ctx: Context,
    classifier: Classifier,
    samples: LabelledSamples,
    params: ClassifierTraining,
    changes: Changes,
    label: str,
) -> None:
    """:func:`fit` of the head alone, on features as they are, in evaluation mode."""
    classifier.requires_grad_(False)
    classifier.head.requires_grad_(True)
    more = Changes(batch=changes.batch, loss=changes.loss, evaluation_mode=True, state=changes.state)
    fit(ctx, classifier, samples, params, more, label=label)
    classifier.requires_grad_(True)
