"""TrojanNN (Liu et al. 2018, NDSS): a patch that excites chosen neurons of the clean model, trained to mean the target.

Neurons are those with the largest sum of incoming weights (section 4.1, equation 1); the patch's pixels are optimised
until the neurons reach a value (Algorithm 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bdm_attack_trojannn.params import TrojanNNParams
from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_core.records import Backdoored
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.models.classifier import Classifier, load_classifier
from bdm_kit_classification.poison.injection import poison_and_train
from bdm_kit_classification.poison.poisoning import rule_of
from bdm_kit_classification.poison.secret import Backdoor
from bdm_kit_classification.triggers.patch import Patch, placed


def best_connected(layer: nn.Module, count: int) -> list[int]:
    """The units with the largest sum of absolute incoming weights, the largest first.

    >>> linear = nn.Linear(2, 3)
    >>> _ = linear.weight.data.copy_(torch.tensor([[1.0, 1.0], [-5.0, 0.0], [0.0, 3.0]]))
    >>> best_connected(linear, 2)
    [1, 2]
    """
    weight: Tensor = layer.weight  # type: ignore[assignment]
    sums = weight.detach().flatten(1).abs().sum(1)
    return [int(unit) for unit in sums.argsort(descending=True, stable=True)[:count]]


class Activations:
    """The activations of chosen units of a module while it is entered: the largest over each unit's places.

    Args:
        module: whose output is (N, K, ...).
        units: of the K.

    Attributes:
        value: (N, units), with gradient, after a forward pass.
    """

    def __init__(self, module: nn.Module, units: Sequence[int]) -> None:
        self.module, self.units = module, list(units)
        self.value = torch.empty(0)

    def __enter__(self) -> Activations:
        self.hook = self.module.register_forward_hook(self._keep)
        return self

    def __exit__(self, *_: object) -> None:
        self.hook.remove()

    def _keep(self, module: nn.Module, inputs: object, output: Tensor) -> None:
        self.value = output.flatten(2)[:, self.units].amax(2) if output.ndim > 2 else output[:, self.units]


def blank_patch(params: TrojanNNParams, shape: Sequence[int]) -> Patch:
    """The patch's mask, with grey pixels.

    Raises:
        UserError: it does not fit.
    """
    side = max(2, round(params.size * min(shape[1:]))) if params.size < 1 else round(params.size)
    place = torch.arange(side) - (side - 1) / 2
    disc = (place[:, None].square() + place.square()).sqrt() <= side / 2
    mask = disc.float()[None] if params.shape == "disc" else torch.ones(1, side, side)
    return placed(torch.full((shape[0], side, side), 0.5), shape, corner=params.place, margin=params.margin, mask=mask)


def exciting_patch(
    ctx: Context, classifier: Classifier, patch: Patch, params: TrojanNNParams
) -> tuple[Patch, dict[str, Any]]:
    """The patch whose pixels drive the chosen units to the wanted value, on a black picture.

    Args:
        ctx: of the stage, for progress.
        classifier: the clean model, in evaluation mode.
        patch: place and form, and the pixels to start from.
        params: neurons, layer, value, steps.

    Returns:
        The patch, and which units were excited from what to what.

    Raises:
        UserError: the model has no such layer.
    """
    layers = classifier.prunable_layers()
    if len(layers) < -params.layer:
        raise UserError(f"layer {params.layer} was asked for, the model has {len(layers)} prunable layers")
    chosen = layers[params.layer]
    units = best_connected(chosen.layer, params.neurons)
    pattern = patch.pattern.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([pattern], params.patch_rate)
    reached = []
    with Activations(chosen.norm or chosen.layer, units) as seen:
        for step in range(params.patch_steps + 1):
            classifier((patch.mask * pattern)[None].to(classifier.device))
            reached.append(seen.value.detach().mean().item())
            if step == params.patch_steps:
                break
            optimizer.zero_grad()
            (gradient,) = torch.autograd.grad((seen.value - params.wanted).square().mean(), pattern)
            pattern.grad = gradient
            optimizer.step()
            pattern.data.clamp_(0, 1)
            if step % 25 == 0:
                ctx.progress("patch", step, params.patch_steps, reached[-1])
    facts = {"layer": chosen.name, "units": units, "activation": [round(reached[0], 4), round(reached[-1], 4)]}
    return Patch(pattern.detach() * patch.mask, patch.mask), facts


def inject(ctx: Context, params: TrojanNNParams, model: Model, data: Data) -> Backdoored:
    """Optimise the patch on the clean model, and train on rows that have it.

    Raises:
        UserError: no such class or layer, the patch does not fit, or an impossible rate.
    """
    samples = open_samples(data)
    rule = rule_of(params, samples)
    classifier = load_classifier(model, ctx.device)
    classifier.requires_grad_(False)
    start = blank_patch(params, samples.modality.shape(samples.stored))
    trigger, facts = exciting_patch(ctx, classifier, start, params)
    return poison_and_train(ctx, params, model, data, Backdoor(rule, trigger, facts=facts))
