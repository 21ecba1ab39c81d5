"""Reconstructive neuron pruning (Li et al. 2023): what a network needs not to recover what it unlearned."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_defense_rnp.params import RnpParams
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.defending.masks import NormMasks, first_units, train_masks
from bdm_kit_classification.defending.pruning import norm_units, prune_to, prune_within
from bdm_kit_classification.defending.reserve import open_reserve
from bdm_kit_classification.models.classifier import Classifier, load_classifier, seal_classifier
from bdm_kit_classification.training.fitting import Batch, Changes, accuracy, fit
from bdm_kit_classification.training.params import ClassifierTraining
from bdm_torch.draws import Draw
from bdm_torch.objective import Step
from bdm_torch.training import TrainingOptions

LARGEST_GRADIENT = 20.0
"""Gradients of unlearning are clipped to this norm, for the loss has no upper bound."""


def prune(ctx: Context, params: RnpParams, model: Model, data: Data) -> Model:
    """Unlearn, recover by masks, and prune in the given model what the masks close.

    Args:
        ctx: the model is sealed in ``ctx.out / "model"``.
        params: of both steps and the choice.
        model: to repair.
        data: clean rows; a part of each class is held out for the choice.

    Raises:
        UserError: the model has no batch normalisation, or there are too few rows.
    """
    classifier, unlearned = load_classifier(model, ctx.device), load_classifier(model, ctx.device)
    norm_units(classifier)
    rows, held = open_reserve(data, params.held_out, ctx.seed)
    unlearn(ctx, params, unlearned, rows)
    masks = recover(ctx, params, unlearned, rows)
    if params.threshold is not None:
        prune_to(ctx, classifier, *first_units(masks, params.threshold, keep_bias=params.keep_bias))
    else:
        prune_within(ctx, classifier, masks.sweep(keep_bias=params.keep_bias), held, params.accuracy_loss)
    return seal_classifier(classifier, ctx.out / "model")


def unlearn(ctx: Context, params: RnpParams, classifier: Classifier, rows: LabelledSamples) -> None:
    """Raise the loss of clean rows in place, until after an epoch few are right (equation 2 of the paper).

    It is one training over all epochs, so that each has rows in another order and momentum goes on; steps after the
    end are not made.
    """
    training = ClassifierTraining(
        epochs=params.unlearn_epochs,
        batch_size=params.batch_size,
        learning_rate=params.unlearn_learning_rate,
        momentum=params.momentum,
        schedule="constant",
        warmup=0.0,
        max_gradient_norm=LARGEST_GRADIENT,
    )
    steps_an_epoch = training.steps(len(rows)) // training.epochs
    right = torch.full((training.epochs,), torch.nan, dtype=torch.float64)  # after each epoch that was made
    latest = torch.zeros((), device=classifier.device)

    def raised(model: nn.Module, batch: Batch, draw: Draw) -> Tensor:
        return -functional.cross_entropy(model(batch.inputs), batch.labels)

    def made(step: Step) -> Tensor:
        if not bool((right <= params.unlearn_until).any()):
            latest.copy_(step.backward())
            step.optimise()
            if step.number % steps_an_epoch == steps_an_epoch - 1:
                right[step.number // steps_an_epoch] = accuracy(classifier, rows)
        return latest.clone()

    changes = Changes(loss=raised, step=made, state={"right": right, "latest": latest})
    fit(ctx, classifier, rows, training, changes, label="unlearn")
    measured = right[~right.isnan()].tolist()
    ctx.curve("accuracy while unlearning", measured)
    if measured[-1] > params.unlearn_until:
        ctx.log.warning(
            "after %d epochs of unlearning %.0f %% of the clean rows are still right: masks may not tell units apart",
            len(measured),
            100 * measured[-1],
        )


def recover(ctx: Context, params: RnpParams, unlearned: Classifier, rows: LabelledSamples) -> NormMasks:
    """Masks of the unlearned network with which it is right again (equation 3 of the paper)."""
    masks: Any = NormMasks(unlearned).to(ctx.device)

    def loss(inputs: Tensor, labels: Tensor, draw: Draw) -> Tensor:
        return functional.cross_entropy(masks.logits(inputs), labels)

    options = TrainingOptions(
        steps=params.recover_epochs * -(-len(rows) // params.batch_size),
        batch_size=params.batch_size,
        learning_rate=params.learning_rate,
        schedule="constant",
        max_gradient_norm=None,
        optimizer="sgd",
        momentum=params.momentum,
    )
    train_masks(ctx, masks, rows, loss, options, label="recover")
    with torch.no_grad():
        ctx.figures(masks_closed=int((masks.mask == 0).sum()), masks=masks.units)
    return masks  # type: ignore[no-any-return]
