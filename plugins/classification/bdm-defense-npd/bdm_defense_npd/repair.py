"""Train a polariser against the changes of samples that fool the model with it, everything else frozen."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_defense_npd.params import NpdParams
from bdm_defense_npd.polariser import Polariser
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.defending.perturbation import ascend
from bdm_kit_classification.defending.tuning import tune_at_strengths
from bdm_kit_classification.models.classifier import Classifier, load_classifier
from bdm_kit_classification.models.feature_maps import inputs_of
from bdm_kit_classification.models.inserted import insert_linear, require_place
from bdm_kit_classification.models.networks import Through
from bdm_kit_classification.training.fitting import Batch, Changes, fit
from bdm_torch.draws import Draw


def polarise(ctx: Context, params: NpdParams, model: Model, data: Data) -> Model:
    """The model with a polariser before one of its layers, folded into it where that is exact; sealed.

    Raises:
        UserError: there is no such layer, or the model cannot be kept with a layer inserted there.
    """
    name = place_of(load_classifier(model), params.layer)

    def tune(classifier: Classifier, rows: LabelledSamples, params: NpdParams, label: str) -> None:
        layer = classifier.get_submodule(name)
        with inputs_of(layer) as seen, torch.no_grad():
            classifier(rows.modality.collate(rows.raw(list(range(min(len(rows), 256)))), classifier))
        classifier.requires_grad_(False)
        polariser = Polariser(seen[0]).to(classifier.device)
        classifier.polariser = polariser  # trained and kept in checkpoints as a part of the classifier
        hook = layer.register_forward_pre_hook(Through(polariser))

        def loss(network: nn.Module, batch: Batch, draw: Draw) -> Tensor:
            polariser.eval()
            changed, targets = fooling(network, batch, draw, params)
            polariser.train()
            return polariser_loss(network, batch, changed, targets, params)

        fit(ctx, classifier, rows, params, Changes(loss=loss, evaluation_mode=True), label=label)
        hook.remove()
        del classifier.polariser
        classifier.requires_grad_(True)
        insert_linear(classifier, name, *polariser.as_linear())

    return tune_at_strengths(ctx, params, model, data, tune)


def place_of(classifier: Classifier, layer: str) -> str:
    """The name of the layer before which the polariser sits.

    Raises:
        UserError: see :func:`polarise`.
    """
    if not layer:
        normalised = [found.name for found in classifier.prunable_layers() if found.norm is not None]
        if not normalised:
            raise UserError("no convolution of the model has a batch normalisation: name a layer (defense:npd.layer)")
        layer = normalised[-1]
    require_place(classifier, layer)
    return layer


def fooling(network: nn.Module, batch: Batch, draw: Draw, params: NpdParams) -> tuple[Tensor, Tensor]:
    """Changed samples that the network with its polariser takes for another class, and that class of each."""
    inputs, labels = batch.inputs, batch.labels
    with torch.no_grad():
        logits = network(inputs).scatter(1, labels[:, None], -math.inf)
    if params.targets == "second-best":
        targets = logits.argmax(1)
    else:
        step = torch.randint(1, logits.shape[1], labels.shape, generator=draw.generator).to(labels)
        targets = (labels + step) % logits.shape[1]

    def objective(changed: Tensor) -> Tensor:
        return -functional.cross_entropy(network(changed), targets, reduction="sum")

    bound = params.radius * math.sqrt(inputs[0].numel())
    start = torch.zeros_like(inputs)
    size, steps = params.search_size * bound, params.search_steps
    return ascend(objective, inputs, start, bound=bound, size=size, steps=steps, norm="l2"), targets


def polariser_loss(network: nn.Module, batch: Batch, changed: Tensor, targets: Tensor, params: NpdParams) -> Tensor:
    """Clean rows stay right; changed ones are right again, not of the class aimed at nor of the likeliest wrong one,
    and like their clean ones.
    """
    clean, fooled = network(torch.cat([batch.inputs, changed])).chunk(2)
    wrong = fooled.detach().scatter(1, batch.labels[:, None], -math.inf).argmax(1)
    apart = functional.kl_div(
        fooled.log_softmax(1), clean.detach().log_softmax(1), reduction="batchmean", log_target=True
    )
    return (
        params.clean_weight * functional.cross_entropy(clean, batch.labels)
        + params.recover_weight * functional.cross_entropy(fooled, batch.labels)
        + params.avoid_weight * against(fooled, targets)
        + params.boost_weight * against(fooled, wrong)
        + params.consist_weight * apart
    )


def against(logits: Tensor, classes: Tensor) -> Tensor:
    """Mean over samples of -log(1 - p) of one class of each.

    >>> round(float(against(torch.zeros(1, 4), torch.tensor([2]))), 4)
    0.2877
    """
    share = logits.log_softmax(1).gather(1, classes[:, None])[:, 0].exp()
    return -(1 - share).clamp_min(1e-6).log().mean()
