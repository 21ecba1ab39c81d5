"""Telling poisoned rows by features that change under transformations (Chen et al., NeurIPS 2022, section 3).

The metric is FCT, the feature consistency towards transformations: |f(x) - f(t(x))|^2 with the penultimate features f
of a network that was trained for a short time on the poisoned rows, and a random transformation t. A trigger hardly
survives t, so that poisoned rows change more than clean ones.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdm_core.context import Context
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.defending.consistency_params import DistinguishingParams
from bdm_kit_classification.models.classifier import Classifier
from bdm_kit_classification.training.fitting import Batch, Changes, fit
from bdm_torch.draws import Draw


class Distinguished(NamedTuple):
    """Scores (N,), higher is more suspicious, and which rows count as clean and as poisoned, (N,) bool each."""

    scores: Tensor
    clean: Tensor
    poisoned: Tensor


def within_classes(features: Tensor, labels: Tensor) -> Tensor:
    """The mean squared distance of features (b, F) from the mean of their class in the batch.

    >>> within_classes(torch.tensor([[0.0], [2.0], [7.0]]), torch.tensor([0, 0, 1])).item()
    0.6666666865348816
    """
    own = functional.one_hot(labels).to(features)
    means = (own.T @ features) / own.sum(0)[:, None].clamp_min(1)
    return (features - means[labels]).square().sum(1).mean()


def between_centres(features: Tensor, labels: Tensor) -> Tensor:
    """The mean over all pairs of the K classes in a batch of the cosine of their mean features (b, F), 0 for a class
    with itself.

    >>> round(float(between_centres(torch.tensor([[2.0, 0.0], [4.0, 0.0], [1.0, 1.0]]), torch.tensor([5, 5, 1]))), 4)
    0.3536
    """
    own = functional.one_hot(labels.unique(return_inverse=True)[1]).to(features)
    centres = functional.normalize(own.T @ features, dim=1)
    cosines = centres @ centres.T
    return (cosines - cosines.diag().diag()).mean()


def changes_of_features(
    classifier: Classifier, samples: LabelledSamples, params: DistinguishingParams, seed: int
) -> Tensor:
    """FCT of each row, (N,) float32: the mean over transformations of |f(x) - f(t(x))|^2, the paper's, or of that over
    |f(x)|^2 (``params.feature_change``).
    """
    classifier.eval()
    found = []
    with torch.inference_mode():
        for number, (_, raw) in enumerate(samples.split(256)):
            inputs = samples.modality.collate(raw, classifier)
            usual = classifier.features(inputs)
            draw = Draw(seed, number, len(inputs), inputs.device)
            far = torch.stack(
                [
                    (classifier.features(samples.modality.distort(inputs, draw, params.strength)) - usual)
                    for _ in range(params.transformations)
                ]
            )
            moved = far.square().sum(2).mean(0)
            if params.feature_change == "relative":
                moved = moved / usual.square().sum(1).clamp_min(1e-12)
            found.append(moved.float().cpu())
    return torch.cat(found)


def distinguish(
    ctx: Context, classifier: Classifier, samples: LabelledSamples, params: DistinguishingParams
) -> Distinguished:
    """Train for a short time, on rows as they are and without clipping, and compare features before and after
    transformations.

    Args:
        ctx: of the stage.
        classifier: new weights, trained in place and of no other use afterwards.
        samples: training rows.
        params: shares and epochs.

    Raises:
        UserError: the modality has no strong random changes.
    """

    def loss(model: nn.Module, batch: Batch, draw: Draw) -> Tensor:
        features = classifier.features(batch.inputs)
        error = functional.cross_entropy(classifier.head(features), batch.labels)
        if draw.step * draw.batch_size // len(samples) < params.warmup_epochs:
            return error
        if params.compact == "centres":
            return params.compact_weight * between_centres(features, batch.labels)
        return error + params.compact_weight * within_classes(features, batch.labels)

    epochs = params.warmup_epochs + params.compact_epochs
    update = {"epochs": epochs, "learning_rate": params.distinguishing_rate, "schedule": "constant"}
    plain = params.model_copy(update={**update, "shift": 0, "flip": False, "max_gradient_norm": None})
    fit(ctx, classifier, samples, plain, Changes(loss=loss), label="distinguish rows")
    scores = changes_of_features(classifier, samples, params, ctx.seed)
    poisoned = torch.zeros(len(samples), dtype=torch.bool)
    most = max(1, round(params.poisoned_share * len(samples)))
    poisoned[scores.argsort(descending=True, stable=True)[:most]] = True
    return Distinguished(scores, least_suspicious(scores, samples.labels, params) & ~poisoned, poisoned)


def least_suspicious(scores: Tensor, labels: Tensor, params: DistinguishingParams) -> Tensor:
    """Which rows are taken for clean, (N,) bool: a share of the lowest scores, of each class or of all rows.

    >>> params = DistinguishingParams(clean_share=0.5)
    >>> least_suspicious(torch.tensor([5.0, 4.0, 1.0, 2.0]), torch.tensor([0, 0, 1, 1]), params).tolist()
    [False, True, True, False]
    """
    chosen = torch.zeros(len(scores), dtype=torch.bool)
    groups = labels.unique().tolist() if params.clean_by_class else [None]
    for group in groups:
        rows = torch.arange(len(scores)) if group is None else (labels == group).nonzero().flatten()
        chosen[rows[scores[rows].argsort(stable=True)[: max(1, round(params.clean_share * len(rows)))]]] = True
    return chosen
