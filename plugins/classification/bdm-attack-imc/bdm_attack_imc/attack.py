"""IMC (Pang et al. 2020, arXiv 1911.01559): the trigger r and the weights w minimise one loss together.

    min over r, w of  E[ CE(f(x; w), y) ] + E[ CE(f(x + r; w), t) ]       equation 4, with r within a small square

The pixels start where they fool the clean model best (the input's share of the attack), and follow the model from there
on (its share): each step goes down in both.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdm_attack_imc.params import ImcParams
from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.records import Backdoored
from bdm_kit_classification.data.samples import LabelledSamples, open_samples
from bdm_kit_classification.models.classifier import Classifier, load_classifier
from bdm_kit_classification.poison.injection import seal_attack, victim_of
from bdm_kit_classification.poison.poisoning import plan_of, rule_of
from bdm_kit_classification.poison.secret import Backdoor
from bdm_kit_classification.training.fitting import Batch, Changes, fit
from bdm_kit_classification.triggers.batch_labels import can_be_poisoned, draw_roles, poison_labels
from bdm_kit_classification.triggers.label_rule import LabelRule
from bdm_kit_classification.triggers.patch import Patch, placed
from bdm_torch.draws import Draw
from bdm_torch.objective import Along
from bdm_torch.training import TrainingOptions, train_in_stage


class Pixels(nn.Module):
    """The pixels of the square, free of bounds: p = (1 + tanh u) / 2.

    Args:
        mask: (1, H, W), opacity within the square.
        channels: of the pictures.
        seed: of the start, u from a normal distribution.
    """

    def __init__(self, mask: Tensor, channels: int, seed: int) -> None:
        super().__init__()
        self.register_buffer("mask", mask, persistent=False)
        shape = (channels, *mask.shape[1:])
        self.free = nn.Parameter(torch.randn(shape, generator=torch.Generator().manual_seed(seed % 2**63)))

    def forward(self, x: Tensor) -> Tensor:
        """Pictures (N, C, H, W) with the square."""
        mask: Tensor = self.mask.to(x)  # type: ignore[operator]
        return (1 - mask) * x + mask * (1 + self.free.to(x).tanh()) / 2

    def patch(self) -> Patch:
        """The trigger as it is now."""
        mask: Tensor = self.mask.detach().cpu()  # type: ignore[operator]
        return Patch((1 + self.free.detach().cpu().tanh()) / 2 * (mask > 0), mask)


def new_pixels(params: ImcParams, shape: list[int], seed: int) -> Pixels:
    """The pixels of a square of the wanted size. Raises UserError if it does not fit."""
    side = max(1, round(params.size * min(shape[1:]))) if params.size < 1 else round(params.size)
    mask = torch.full((1, side, side), params.opacity)
    blank = placed(torch.zeros(shape[0], side, side), shape, corner=params.place, margin=params.margin, mask=mask)
    return Pixels(blank.mask, shape[0], seed)


def warm_up(
    ctx: Context, params: ImcParams, pixels: Pixels, classifier: Classifier, rule: LabelRule, samples: LabelledSamples
) -> None:
    """Optimise the pixels alone, in place: the classifier is to say the rule's label of triggered rows."""
    classifier.requires_grad_(False)

    def loss(model: nn.Module, draw: Draw) -> Tensor:
        rows = draw.rows(len(samples))
        x, labels = samples.raw(rows).to(classifier.device), samples.labels[rows].to(classifier.device)
        able = can_be_poisoned(rule, labels)
        wanted = poison_labels(rule, labels, draw.generator)
        each = functional.cross_entropy(classifier(model(x)), wanted, reduction="none")
        return (each * able).sum() / able.sum().clamp_min(1)

    options = TrainingOptions(
        steps=params.warm_steps, batch_size=params.batch_size, learning_rate=params.trigger_rate, optimizer="adam"
    )
    train_in_stage(ctx, pixels, loss, options, label="trigger alone", curve="trigger alone loss")


def inject(ctx: Context, params: ImcParams, model: Model, data: Data) -> Backdoored:
    """Pixels on the clean model, then pixels and model together.

    Raises:
        UserError: no such class, an impossible rate, or the square does not fit.
    """
    samples = open_samples(data)
    rule = rule_of(params, samples)
    plan = plan_of(ctx, params, samples, rule)
    pixels = new_pixels(params, samples.modality.shape(samples.stored), ctx.seed)
    if params.warm_steps:
        warm_up(ctx, params, pixels, load_classifier(model, ctx.device), rule, samples)
    victim = victim_of(ctx, params, model)

    def change(batch: Batch, draw: Draw) -> Batch:
        poison, _ = draw_roles(params, rule, batch.labels, draw)
        inputs, labels = batch.inputs.clone(), batch.labels.clone()
        inputs[poison] = pixels(batch.inputs[poison])
        labels[poison] = poison_labels(rule, labels[poison], draw.generator)
        return replace(batch, inputs=inputs, labels=labels)

    fit(ctx, victim, samples, params, Changes(batch=change, along={"pixels": Along(pixels, params.trigger_rate)}))
    return seal_attack(ctx, victim, Backdoor(rule, pixels.patch()), samples, plan)
