"""Search for examples that fool both models into the same class, then unlearn them."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_defense_sau.params import SauParams
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.defending.perturbation import ascend
from bdm_kit_classification.defending.tuning import tune_at_strengths
from bdm_kit_classification.models.classifier import Classifier
from bdm_kit_classification.training.fitting import Batch, Changes, fit
from bdm_torch.draws import Draw


def unlearn_shared(ctx: Context, params: SauParams, model: Model, data: Data) -> Model:
    """Tune the model against examples that it shares with the model as it was given; sealed."""

    def tune(classifier: Classifier, rows: LabelledSamples, params: SauParams, label: str) -> None:
        given = copy.deepcopy(classifier).requires_grad_(False).eval()

        def loss(network: nn.Module, batch: Batch, draw: Draw) -> Tensor:
            training = network.training
            network.eval()
            changed = shared_examples(network, given, batch, draw, params)
            network.train(training)
            clean, fooled = network(torch.cat([batch.inputs, changed])).chunk(2)
            return (
                params.clean_weight * functional.cross_entropy(clean, batch.labels)
                + params.adversarial_weight * functional.cross_entropy(fooled, batch.labels)
                + params.shared_weight * shared_risk(fooled, given(changed), batch.labels)
            )

        kept = params.normalisation == "kept"
        fit(ctx, classifier, rows, params, Changes(loss=loss, evaluation_mode=kept), label=label)

    return tune_at_strengths(ctx, params, model, data, tune)


def shared_examples(network: nn.Module, given: nn.Module, batch: Batch, draw: Draw, params: SauParams) -> Tensor:
    """Changed samples: both models are wrong about them, and of one mind."""

    def objective(changed: Tensor) -> Tensor:
        one, other = network(changed), given(changed)
        wrong = [functional.cross_entropy(logits, batch.labels, reduction="sum") for logits in (one, other)]
        fooled = sum(wrong, one.new_zeros(())) / 2
        return params.fool_weight * fooled - params.share_weight * divergence(one, other).sum()

    start = (2 * draw.uniform(*batch.inputs.shape[1:]) - 1) * params.bound
    size, steps = params.search_size * params.bound, params.search_steps
    return ascend(objective, batch.inputs, start, bound=params.bound, size=size, steps=steps, norm="linf")


def divergence(one: Tensor, other: Tensor) -> Tensor:
    """Jensen-Shannon divergence of the classes of two logits (N, K): (N,), 0 to log 2.

    >>> round(float(divergence(torch.tensor([[0.0, 90.0]]), torch.tensor([[90.0, 0.0]]))), 4)
    0.6931
    """
    a, b = one.log_softmax(1), other.log_softmax(1)
    middle = torch.logaddexp(a, b) - math.log(2)
    return sum((p.exp() * (p - middle)).sum(1) for p in (a, b)) / 2  # type: ignore[return-value]


def shared_risk(logits: Tensor, given: Tensor, labels: Tensor) -> Tensor:
    """Mean over samples of -log(1 - p) of the class that the given model says, where that class is wrong; else 0.

    >>> logits, given = torch.tensor([[0.0, 0.0], [0.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> round(float(shared_risk(logits, given, torch.tensor([1, 1]))), 4)
    0.3466
    """
    said = given.argmax(1)
    share = logits.softmax(1).gather(1, said[:, None])[:, 0]
    return -torch.where(said != labels, (1 - share).clamp_min(1e-6).log(), 0.0).mean()
