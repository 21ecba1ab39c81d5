"""Adversarial neuron pruning (Wu and Wang 2021): units of a backdoor answer first when weights are changed a little."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_defense_anp.params import AnpParams
from bdm_kit_classification.defending.masks import NormMasks, first_units, train_masks
from bdm_kit_classification.defending.pruning import prune_to, prune_within
from bdm_kit_classification.defending.reserve import open_reserve
from bdm_kit_classification.models.classifier import load_classifier, seal_classifier
from bdm_torch.draws import Draw
from bdm_torch.training import TrainingOptions


def prune(ctx: Context, params: AnpParams, model: Model, data: Data) -> Model:
    """Learn the masks, and prune what they close.

    Args:
        ctx: the model is sealed in ``ctx.out / "model"``.
        params: of masks and choice.
        model: to repair.
        data: clean rows; a part of each class is held out for the choice.

    Raises:
        UserError: the model has no batch normalisation, or there are too few rows.
    """
    classifier = load_classifier(model, ctx.device)
    masks = NormMasks(classifier).to(ctx.device)
    rows, held = open_reserve(data, params.held_out, ctx.seed)

    def loss(inputs: Tensor, labels: Tensor, draw: Draw) -> Tensor:
        scale, shift = worst_changes(masks, inputs, labels, params.radius, draw)
        plain = functional.cross_entropy(masks.logits(inputs), labels)
        changed = functional.cross_entropy(masks.logits(inputs, scale, shift), labels)
        return params.trade_off * plain + (1 - params.trade_off) * changed

    options = TrainingOptions(
        steps=params.steps,
        batch_size=params.batch_size,
        learning_rate=params.learning_rate,
        schedule="constant",
        max_gradient_norm=None,
        optimizer="sgd",
        momentum=params.momentum,
    )
    train_masks(ctx, masks, rows, loss, options, label="mask")
    if params.threshold is not None:
        prune_to(ctx, classifier, *first_units(masks, params.threshold, keep_bias=params.keep_bias))
    else:
        prune_within(ctx, classifier, masks.sweep(keep_bias=params.keep_bias), held, params.accuracy_loss)
    return seal_classifier(classifier, ctx.out / "model")


def worst_changes(masks: NormMasks, inputs: Tensor, labels: Tensor, radius: float, draw: Draw) -> tuple[Tensor, Tensor]:
    """Relative changes of scales and shifts within ``radius`` that raise the loss, by one signed step of that length
    from a random start (equation 3 of the paper, solved as its appendix says).
    """

    def start() -> Tensor:
        noise = torch.rand(masks.units, generator=draw.generator) * 2 - 1
        return (radius * noise).to(inputs.device).requires_grad_()

    scale, shift = start(), start()
    loss = functional.cross_entropy(masks.logits(inputs, scale, shift), labels)
    found = torch.autograd.grad(loss, (scale, shift))
    with torch.no_grad():
        return tuple(  # type: ignore[return-value]
            (value + radius * gradient.sign()).clamp(-radius, radius)
            for value, gradient in zip((scale, shift), found, strict=True)
        )
