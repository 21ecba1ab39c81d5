"""Feature shift tuning: minimise CE + alpha <W, W0> over all weights, with |W| = |W0| and a head W that starts anew."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_defense_fst.params import FstParams
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.defending.tuning import tune_at_strengths
from bdm_kit_classification.models.classifier import Classifier
from bdm_kit_classification.training.fitting import Batch, Changes, fit
from bdm_torch.draws import Draw


def shift_features(ctx: Context, params: FstParams, model: Model, data: Data) -> Model:
    """Tune all weights under a new head on the rows of ``data``; sealed in ``ctx.out / "model"``."""

    def tune(classifier: Classifier, rows: LabelledSamples, params: FstParams, label: str) -> None:
        head = classifier.head
        given = head.weight.detach().clone()
        renew(head, ctx.seed)
        goal = given.norm()

        def loss(network: nn.Module, batch: Batch, draw: Draw) -> Tensor:
            entropy = functional.cross_entropy(
                network(batch.inputs), batch.labels, label_smoothing=params.label_smoothing
            )
            return entropy + params.alpha * likeness(head.weight, given.to(head.weight), params.likeness)

        def keep_norm(number: int) -> None:
            rescale(head.weight, goal)

        fit(ctx, classifier, rows, params, Changes(loss=loss, after_step=keep_norm), label=label)

    return tune_at_strengths(ctx, params, model, data, tune)


def renew(head: nn.Linear, seed: int) -> None:
    """Draw a linear map (K, F) anew, uniform within 1 / sqrt(F), and give it the norm it had; its bias becomes 0."""
    norm, bound = head.weight.detach().norm(), 1 / math.sqrt(head.in_features)
    drawn = torch.rand(head.weight.shape, generator=torch.Generator().manual_seed(seed % 2**63)) * 2 * bound - bound
    with torch.no_grad():
        head.weight.copy_(drawn)
        if head.bias is not None:
            head.bias.zero_()
    rescale(head.weight, norm)


def rescale(weight: Tensor, norm: Tensor) -> None:
    """Give a weight this Frobenius norm, in place.

    >>> weight = torch.tensor([[3.0, 4.0]])
    >>> rescale(weight, torch.tensor(10.0))
    >>> weight.tolist()
    [[6.0, 8.0]]
    """
    with torch.no_grad():
        weight.mul_(norm.to(weight) / weight.norm().clamp_min(1e-12))


def likeness(weight: Tensor, given: Tensor, kind: str) -> Tensor:
    """The inner product of two heads, or its cosine in [-1, 1]."""
    inner = (weight * given).sum()
    return inner if kind == "inner-product" else inner / (weight.norm() * given.norm()).clamp_min(1e-12)
