"""Unlearn noise, prune the units that this changed most, and fuse the pruned model with the given one."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_defense_otbr.params import OtbrParams
from bdm_defense_otbr.transport import carried, transport_plan
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.defending.reserve import open_reserve
from bdm_kit_classification.defending.tuning import keep_strongest
from bdm_kit_classification.models.classifier import Classifier, PrunableLayer, load_classifier, seal_classifier
from bdm_kit_classification.models.image_classifiers import ImageClassifier
from bdm_kit_classification.training.normalisation import refresh_statistics
from bdm_torch.draws import Draw
from bdm_torch.training import TrainingOptions, train_in_stage


def fuse_with_pruned(ctx: Context, params: OtbrParams, model: Model, data: Data) -> Model:
    """The fusion for the largest share of pruned units that keeps the accuracy; sealed in ``ctx.out / "model"``.

    Raises:
        UserError: the model has no convolutions.
    """
    shares = params.shares
    given = load_classifier(model, ctx.device)
    require_convolutions(given)
    rows, held = open_reserve(data, params.held_out, ctx.seed) if len(shares) > 1 else (open_samples(data),) * 2
    changes = weight_changes(given, unlearnt(ctx, params, given, tuple(rows.raw([0]).shape[1:])))

    def fused(share: float) -> Classifier:
        found = fuse(given, pruned(given, changes, share), changes, params.balance)
        if params.refresh:
            refresh_statistics(found, rows)
        return found

    if len(shares) == 1:
        return seal_classifier(fused(shares[0]), ctx.out / "model")
    return keep_strongest(
        ctx, params, load_classifier(model, ctx.device), held, shares, fused, knob="share of units pruned"
    )


def require_convolutions(classifier: Classifier) -> None:
    """Raises UserError: it has none."""
    if not convolutions(classifier):
        raise UserError(
            "otbr prunes units of convolutions, and this model has none: choose another model, or another defense"
        )


def convolutions(classifier: Classifier) -> list[PrunableLayer]:
    """The convolutions, from the input to the output."""
    return [layer for layer in classifier.prunable_layers() if isinstance(layer.layer, nn.Conv2d)]


def unlearnt(ctx: Context, params: OtbrParams, given: Classifier, shape: tuple[int, ...]) -> Classifier:
    """A copy after some steps of ascent on the cross entropy of uniform noise with labels drawn at random."""
    copied = copy.deepcopy(given)
    classes = len(given.classes)

    def loss(network: nn.Module, draw: Draw) -> Tensor:
        noise = draw.uniform(*shape)
        labels = torch.randint(classes, (params.batch_size,), generator=draw.generator)[draw.share]
        return -functional.cross_entropy(network(noise), labels.to(noise.device))

    options = TrainingOptions(
        steps=params.unlearning_steps,
        batch_size=params.batch_size,
        learning_rate=params.unlearning_rate,
        schedule="constant",
        optimizer="sgd",
        max_gradient_norm=None,
    )
    train_in_stage(ctx, copied, loss, options, label="unlearn noise", curve="unlearn noise loss")
    return copied


def weight_changes(before: Classifier, after: Classifier) -> list[Tensor]:
    """Of each convolution the sum of |w' - w| over each unit's weights."""
    pairs = zip(convolutions(before), convolutions(after), strict=True)
    return [
        (other.layer.weight - one.layer.weight).detach().abs().flatten(1).sum(1)  # type: ignore[operator, union-attr]
        for one, other in pairs
    ]


def pruned(given: Classifier, changes: list[Tensor], share: float) -> Classifier:
    """A copy without the share of all convolutions' units that changed most, at least one."""
    copied = copy.deepcopy(given)
    count = max(1, round(share * sum(map(len, changes))))
    bound = torch.cat(changes).topk(count).values[-1]
    for layer, change in zip(convolutions(copied), changes, strict=True):
        layer.silence((change >= bound).nonzero().flatten().tolist())
    return copied


@dataclass(frozen=True)
class Pair:
    """A convolution of the pruned model and the same of the given one."""

    pruned: PrunableLayer
    given: PrunableLayer


def fuse(given: Classifier, pruned: Classifier, changes: list[Tensor], balance: float) -> Classifier:
    """``balance`` times the aligned pruned model plus the rest of the given one, from the first pruned layer on.

    Units of a layer are aligned where one following layer alone reads them, by the plan of transport: the pruned units
    have equal mass, the given ones mass by how much unlearning changed them.
    """
    fused = copy.deepcopy(given)
    layers = [Pair(*both) for both in zip(convolutions(pruned), convolutions(fused), strict=True)]
    first = next(
        (
            place
            for place, pair in enumerate(layers)
            if not torch.equal(pair.pruned.layer.weight, pair.given.layer.weight)  # type: ignore[arg-type]
            or (pair.pruned.norm is not None and not torch.equal(pair.pruned.norm.weight, pair.given.norm.weight))  # type: ignore[union-attr]
        ),
        len(layers),
    )
    plan: Tensor | None = None
    for place, pair in enumerate(layers[first:], start=first):
        weight = pair.pruned.layer.weight.detach()  # type: ignore[union-attr]
        if plan is not None:
            weight = carried(weight, plan, dim=1)
        reader = layers[place + 1].given.layer if place + 1 < len(layers) else fused.head
        alone = isinstance(fused, ImageClassifier) and pair.given.norm is not None
        plan = None
        if alone and reads(reader, pair.given.units):
            plan = _plan(weight, pair.given.layer.weight.detach(), changes[place])  # type: ignore[union-attr]
            weight = carried(weight, plan)
        _mix(pair.given.layer.weight, weight, balance)  # type: ignore[arg-type]
        for name in ("weight", "bias", "running_mean", "running_var") if pair.given.norm is not None else ():
            value = getattr(pair.pruned.norm, name).detach()
            _mix(getattr(pair.given.norm, name), value if plan is None else carried(value, plan), balance)
        if getattr(pair.given.layer, "bias", None) is not None:
            value = pair.pruned.layer.bias.detach()  # type: ignore[union-attr]
            _mix(pair.given.layer.bias, value if plan is None else carried(value, plan), balance)  # type: ignore[arg-type]
    if plan is not None:
        _mix(fused.head.weight, carried(pruned.head.weight.detach(), plan, dim=1), balance)
    return fused


def reads(layer: nn.Module, units: int) -> bool:
    """Whether a layer takes just so many channels."""
    return units == getattr(layer, "in_channels", getattr(layer, "in_features", None))


def _plan(source: Tensor, target: Tensor, change: Tensor) -> Tensor:
    mass = change if float(change.sum()) > 0 else torch.ones_like(change)
    return transport_plan(source.flatten(1), target.flatten(1), torch.ones(len(source)), mass)


def _mix(value: Tensor, other: Tensor, balance: float) -> None:
    with torch.no_grad():
        value.mul_(1 - balance).add_(other.to(value), alpha=balance)
