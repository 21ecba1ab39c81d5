"""Isolation of rows that are learnt too fast (Li et al. 2021, Anti-Backdoor Learning, arXiv 2110.11571, section 3.2).

Rows with a trigger are learnt within the first epochs. Local gradient ascent keeps the loss of all others up, so that
the difference stays; flooding does the same by another formula.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdm_core.context import Context
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.defending.isolation_params import IsolationParams
from bdm_kit_classification.models.classifier import Classifier
from bdm_kit_classification.training.fitting import Batch, Changes, fit, predict
from bdm_torch.draws import Draw

LEAST = 1e-12
"""Losses below it count as it: what float64 gives with some digits."""


def held_up(losses: Tensor, params: IsolationParams) -> Tensor:
    """The loss that is minimised instead of the mean of ``losses`` (b,): it rises where they are below the bound.

    Local gradient ascent: sign(l - bound) l (equation 3); flooding: |l - bound| + bound (Ishida et al. 2020).

    >>> losses = torch.tensor([0.25, 1.0])
    >>> [float(held_up(losses, IsolationParams(isolation=how, isolation_of="rows", isolation_loss=0.5)))
    ...  for how in ("ascent", "flooding")]
    [0.375, 0.875]
    >>> float(held_up(losses, IsolationParams(isolation_of="batches", isolation_loss=0.7)))
    -0.625
    """
    values, bound = losses if params.isolation_of == "rows" else losses.mean(), params.isolation_loss
    if params.isolation == "ascent":
        return ((values.detach() - bound).sign() * values).mean()
    return ((values - bound).abs() + bound).mean()


def isolation_scores(ctx: Context, classifier: Classifier, samples: LabelledSamples, params: IsolationParams) -> Tensor:
    """How early each row is learnt, (N,) float32: minus the mean of its log loss; higher is more suspicious.

    The loss of all rows is looked at ``params.looks`` times an epoch, in evaluation mode; the first epoch is left out
    if there are more. One look alone depends much on what the network learns at that moment; 0 looks an epoch are one
    at the end, the paper's. Rows are learnt as they are, not augmented, so that triggers stay where they are.

    Args:
        ctx: of the stage.
        classifier: new weights, trained in place.
        samples: training rows.
        params: of the isolation.
    """
    total = torch.zeros(len(samples))
    update = {"epochs": params.isolation_epochs, "learning_rate": params.isolation_learning_rate}
    plain = {"schedule": "constant", "warmup": 0.0, "shift": 0, "flip": False}
    training = params.model_copy(update={**update, **plain})
    steps = training.steps(len(samples))
    looks = params.looks * params.isolation_epochs
    first = params.looks if params.isolation_epochs > 1 else 0
    moments = {round((place + 1) * steps / looks) - 1 for place in range(first, looks)} or {steps - 1}

    def loss(model: nn.Module, batch: Batch, draw: Draw) -> Tensor:
        each = functional.cross_entropy(model(batch.inputs), batch.labels, reduction="none")
        return held_up(each, params)

    def look(number: int) -> None:
        if number in moments:
            total.add_(log_losses(predict(classifier, samples).logits, samples.labels))

    fit(
        ctx, classifier, samples, training, Changes(loss=loss, after_step=look, state={"total": total}), label="isolate"
    )
    return -total / len(moments)


def log_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """The logarithm of the cross entropy of each row, (N,) float64; rows that the network is sure of differ too.

    >>> log_losses(torch.tensor([[15.0, 0.0], [20.0, 0.0]]), torch.tensor([0, 0])).round(decimals=3).tolist()
    [-15.0, -20.0]
    """
    return functional.cross_entropy(logits.double(), labels, reduction="none").clamp_min(LEAST).log()


def most_suspicious(scores: Tensor, rate: float) -> Tensor:
    """Which rows are isolated, (N,) bool: the share ``rate`` with the highest scores, at least one.

    >>> most_suspicious(torch.tensor([0.1, 3.0, 0.2, 2.0]), 0.5).tolist()
    [False, True, False, True]
    """
    chosen = torch.zeros(len(scores), dtype=torch.bool)
    chosen[scores.argsort(descending=True, stable=True)[: max(1, round(rate * len(scores)))]] = True
    return chosen
