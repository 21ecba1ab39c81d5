"""BppAttack (Wang, Zhai and Ma 2022, arXiv 2205.13383): the trigger is a picture with fewer levels a channel."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bdm_attack_bpp.dithering import dithered, rounded
from bdm_attack_bpp.params import BPPParams
from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.records import Backdoored
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.poison.injection import seal_attack, victim_of
from bdm_kit_classification.poison.poisoning import plan_of, rule_of
from bdm_kit_classification.poison.secret import Backdoor
from bdm_kit_classification.training.fitting import Batch, Changes, fit
from bdm_kit_classification.triggers.batch_labels import draw_roles, poison_labels
from bdm_kit_classification.triggers.label_rule import LabelRule
from bdm_kit_classification.triggers.trigger import Phase, Trigger
from bdm_torch.draws import Draw

RESIDUALS = 64
"""So many pictures' residuals are drawn from for negatives."""


@dataclass(frozen=True, eq=False)
class Quantised(Trigger):
    """Each channel has ``levels`` levels: rounded to the nearest, or with errors spread if ``dither``."""

    levels: int
    dither: bool

    def apply(self, x: Tensor, phase: Phase, generator: torch.Generator | None = None) -> Tensor:
        """The same in both phases; gradients pass as if nothing had been rounded."""
        made = (dithered if self.dither else rounded)(x.detach(), self.levels)
        return made if not x.requires_grad else x + (made - x).detach()


@dataclass(frozen=True, eq=False)
class OtherResidual(Trigger):
    """x' = clip(x + r) with what the trigger does to another picture: the negatives.

    Attributes:
        residuals: (R, C, H, W), of which one is drawn for each picture.
    """

    residuals: Tensor

    def apply(self, x: Tensor, phase: Phase, generator: torch.Generator | None = None) -> Tensor:
        """The same in both phases."""
        chosen = torch.randint(len(self.residuals), (len(x),), generator=generator)
        return (x + self.residuals[chosen].to(x)).clamp(0, 1)


def quantise_some(
    params: BPPParams, rule: LabelRule, trigger: Quantised, negative: OtherResidual, batch: Batch, draw: Draw
) -> Batch:
    """The batch with this step's poisoned rows and negatives."""
    poison, others = draw_roles(params, rule, batch.labels, draw, params.negative_rate)
    inputs, labels = batch.inputs.clone(), batch.labels.clone()
    inputs[poison] = trigger.apply(inputs[poison], "train", draw.generator)
    inputs[others] = negative.apply(inputs[others], "train", draw.generator)
    labels[poison] = poison_labels(rule, labels[poison], draw.generator)
    return replace(batch, inputs=inputs, labels=labels)


def inject(ctx: Context, params: BPPParams, model: Model, data: Data) -> Backdoored:
    """The trained victim, the secret, and a view of what an epoch was like.

    Raises:
        UserError: no such class, or an impossible rate.
    """
    samples = open_samples(data)
    rule = rule_of(params, samples)
    plan = plan_of(ctx, params, samples, rule, {"negative": params.negative_rate})
    trigger = Quantised(params.levels, params.dither)
    order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(ctx.seed))
    some = samples.raw(order[:RESIDUALS])
    negative = OtherResidual(trigger.apply(some, "train") - some)
    victim = victim_of(ctx, params, model)

    def change(batch: Batch, draw: Draw) -> Batch:
        return quantise_some(params, rule, trigger, negative, batch, draw)

    fit(ctx, victim, samples, params, Changes(batch=change))
    return seal_attack(ctx, victim, Backdoor(rule, trigger, negative), samples, plan)
