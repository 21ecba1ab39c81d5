"""min over the model of max over |d| <= C of E CE(f(x + d), y), with one perturbation d for all samples."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_defense_i_bau.hypergradient import with_implicit_part
from bdm_defense_i_bau.params import IBauParams
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.defending.tuning import tune_at_strengths
from bdm_kit_classification.models.classifier import Classifier, batches
from bdm_kit_classification.training.fitting import Batch, Changes, fit
from bdm_torch.draws import Draw
from bdm_torch.second_derivatives import twice_differentiable


def unlearn_perturbation(ctx: Context, params: IBauParams, model: Model, data: Data) -> Model:
    """Each round seeks the worst perturbation, then steps against it on all rows; sealed in ``ctx.out / "model"``."""

    def tune(classifier: Classifier, rows: LabelledSamples, params: IBauParams, label: str) -> None:
        shape = rows.modality.collate(rows.raw([0]), classifier).shape
        perturbation = torch.zeros(shape)
        a_round = params.steps(len(rows)) // params.epochs

        def loss(network: nn.Module, batch: Batch, draw: Draw) -> Tensor:
            if draw.step % a_round == 0:
                perturbation.copy_(worst_perturbation(network, rows, classifier, params))
            clean, labels = batch.inputs, batch.labels
            weight = params.clean_weight

            def outer(d: Tensor) -> Tensor:
                return functional.cross_entropy(network(clean + d), labels)

            def penalty(d: Tensor) -> Tensor:
                return params.penalty * d.square().sum()

            given = {"steps": params.fixed_point_steps, "rate": params.fixed_point_rate}
            with twice_differentiable():
                value = with_implicit_part(outer, penalty, perturbation.to(clean), **given)  # type: ignore[arg-type]
            return value + weight * functional.cross_entropy(network(clean), labels) if weight else value

        kept = params.normalisation == "kept"
        changes = Changes(loss=loss, evaluation_mode=kept, state={"perturbation": perturbation})
        fit(ctx, classifier, rows, params, changes, label=label)

    return tune_at_strengths(ctx, params, model, data, tune)


def worst_perturbation(network: nn.Module, rows: LabelledSamples, classifier: Classifier, params: IBauParams) -> Tensor:
    """A perturbation (1, ...) that raises the loss of all rows, from 0 by steps along the gradient within the ball."""
    given = [
        (rows.modality.collate(rows.raw(list(chosen)), classifier), rows.labels[list(chosen)].to(classifier.device))
        for chosen in batches(len(rows), params.batch_size)
    ]
    d = torch.zeros_like(given[0][0][:1])
    bound = params.radius * math.sqrt(d.numel())
    training = network.training
    network.eval()
    for _ in range(params.inner_passes):
        for inputs, labels in given:
            d.requires_grad_()
            loss = functional.cross_entropy(network(inputs + d), labels) - params.penalty * d.square().sum()
            (slope,) = torch.autograd.grad(loss, d)
            d = within_ball(d.detach() + params.inner_rate * slope, bound)
    network.train(training)
    return d


def within_ball(d: Tensor, bound: float) -> Tensor:
    """``d``, shortened to the 2-norm ``bound`` where it is longer.

    >>> within_ball(torch.tensor([3.0, 4.0]), 1.0).tolist()
    [0.6000000238418579, 0.800000011920929]
    """
    return d * (bound / d.norm().clamp_min(bound))
