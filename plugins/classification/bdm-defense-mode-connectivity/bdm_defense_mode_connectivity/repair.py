"""Learn the middle of a curve between the model and its fine-tuned copy, and take a point of the curve."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_defense_mode_connectivity.curve import Curve
from bdm_defense_mode_connectivity.params import ModeConnectivityParams
from bdm_kit_classification.data.samples import LabelledSamples, open_samples
from bdm_kit_classification.defending.reserve import open_reserve
from bdm_kit_classification.defending.tuning import keep_strongest
from bdm_kit_classification.models.classifier import Classifier, load_classifier, seal_classifier
from bdm_kit_classification.training.fitting import Batch, Changes, fit
from bdm_kit_classification.training.normalisation import refresh_statistics
from bdm_torch.draws import Draw


def connect(ctx: Context, params: ModeConnectivityParams, model: Model, data: Data) -> Model:
    """The last point of the curve that keeps the accuracy, batch normalisation refreshed; sealed.

    Raises:
        UserError: there are too few rows to hold some out.
    """
    points = params.points
    classifier = load_classifier(model, ctx.device)
    if len(points) == 1:
        rows = open_samples(data)
        return seal_classifier(point(*learn_curve(ctx, params, classifier, rows), points[0], rows), ctx.out / "model")
    rows, held = open_reserve(data, params.held_out, ctx.seed)
    curve, middle = learn_curve(ctx, params, classifier, rows)
    given = load_classifier(model, ctx.device)
    return keep_strongest(ctx, params, given, held, points, lambda t: point(curve, middle, t, rows), knob="point")


def learn_curve(
    ctx: Context, params: ModeConnectivityParams, classifier: Classifier, rows: LabelledSamples
) -> tuple[Curve, Classifier]:
    """The curve, and its middle as a classifier: least expected loss over t, drawn uniformly at each step."""
    end = copy.deepcopy(classifier)
    tuning = params.model_copy(update={"epochs": params.end_epochs, "learning_rate": params.end_rate})
    fit(ctx, end, rows, tuning, label="fine-tuned copy")
    middle = copy.deepcopy(classifier).to(end.device)
    curve = Curve(parameters_of(middle), parameters_of(end))
    with torch.no_grad():
        for name, value in middle.named_parameters():
            value.copy_((curve.start[name] + curve.end[name]) / 2)

    def loss(network: nn.Module, batch: Batch, draw: Draw) -> Tensor:
        t = float(torch.rand((), generator=draw.generator))
        weights = curve.at(t, dict(network.named_parameters()))
        logits = functional_call(network, weights, (batch.inputs,))
        return functional.cross_entropy(logits, batch.labels, label_smoothing=params.label_smoothing)

    fit(ctx, middle, rows, params, Changes(loss=loss), label="curve")
    return curve, middle


def parameters_of(classifier: Classifier) -> dict[str, Tensor]:
    """A copy of what is learnt, by name."""
    return {name: value.detach().clone() for name, value in classifier.named_parameters()}


def point(curve: Curve, middle: Classifier, t: float, rows: LabelledSamples) -> Classifier:
    """The classifier at t, its statistics those of the rows."""
    found = copy.deepcopy(middle)
    with torch.no_grad():
        weights = curve.at(t, parameters_of(middle))
        for name, value in found.named_parameters():
            value.copy_(weights[name])
    refresh_statistics(found, rows)
    return found
