"""Blind backdoors (Bagdasaryan and Shmatikov 2021, arXiv 2005.03823): the attacker changes the loss and nothing else.

L = w_c CE(f(x), y) + w_b CE(f(x + p), t) (section 4.2), with fixed weights, or those of the point of least norm between
the two gradients (MGDA, section 4.3). The second term counts once the clean loss is low (section 4.4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdm_attack_blind.params import BlindParams
from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.records import Backdoored
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.poison.injection import seal_attack, victim_of
from bdm_kit_classification.poison.poisoning import plan_of, rule_of
from bdm_kit_classification.poison.secret import Backdoor
from bdm_kit_classification.training.fitting import Batch, Changes, fit
from bdm_kit_classification.triggers.batch_labels import can_be_poisoned, poison_labels
from bdm_kit_classification.triggers.label_rule import LabelRule
from bdm_kit_classification.triggers.patch import Patch, placed
from bdm_torch.draws import Draw


class RunningMean:
    """Mean of the last values; its tensor is part of the checkpoint.

    Attributes:
        kept: (history,) float32, NaN where nothing came yet.

    >>> mean = RunningMean(history=2)
    >>> for step, value in enumerate((5.0, 1.0, 2.0)):
    ...     mean.add(step, torch.tensor(value))
    >>> float(mean.value)
    1.5
    """

    def __init__(self, history: int) -> None:
        self.kept = torch.full((history,), float("nan"))

    def add(self, step: int, value: Tensor) -> None:
        """Keep the value of a step, and forget the one that is ``history`` steps older."""
        self.kept[step % len(self.kept)] = value.detach().cpu()

    @property
    def value(self) -> Tensor:
        """The mean of those that are kept."""
        return self.kept.nanmean()


def least_norm_weight(one: Sequence[Tensor], other: Sequence[Tensor]) -> Tensor:
    """The w in [0, 1] for which w one + (1 - w) other has the least norm (MGDA for two losses, closed form).

    >>> float(least_norm_weight([torch.tensor([2.0, 0.0])], [torch.tensor([0.0, 1.0])])).__round__(6)
    0.2
    """
    a, b = (torch.cat([part.flatten() for part in parts]) for parts in (one, other))
    apart = (a - b).square().sum().clamp_min(1e-20)
    return ((b - a) @ b / apart).clamp(0, 1)


@dataclass(frozen=True, eq=False)
class BlindLoss:
    """The changed loss.

    Attributes:
        params: weights and threshold.
        rule: label rule.
        trigger: put into copies of the batch's rows.
        learnt: the classifier's parameters, for the gradients of MGDA.
        clean_losses: the running clean loss.
    """

    params: BlindParams
    rule: LabelRule
    trigger: Patch
    learnt: Sequence[Tensor]
    clean_losses: RunningMean

    def loss(self, model: nn.Module, batch: Batch, draw: Draw) -> Tensor:
        """The clean loss alone at first, then both, in one forward pass."""
        smoothing = self.params.label_smoothing
        bad = can_be_poisoned(self.rule, batch.labels)
        if not self.active or not bool(bad.any()):
            clean = functional.cross_entropy(model(batch.inputs), batch.labels, label_smoothing=smoothing)
            self.clean_losses.add(draw.step, clean)
            return clean
        labels = poison_labels(self.rule, batch.labels[bad], draw.generator)
        triggered = self.trigger.apply(batch.inputs[bad], "train")
        logits = model(torch.cat([batch.inputs, triggered]))
        clean = functional.cross_entropy(logits[: len(bad)], batch.labels, label_smoothing=smoothing)
        backdoor = functional.cross_entropy(logits[len(bad) :], labels, label_smoothing=smoothing)
        self.clean_losses.add(draw.step, clean)
        weights = self.weights(clean, backdoor)
        return weights[0] * clean + weights[1] * backdoor

    @property
    def active(self) -> bool:
        """Whether the backdoor's loss counts; no step has yet given a clean loss at the beginning."""
        return bool(self.clean_losses.value < self.params.threshold)

    def weights(self, clean: Tensor, backdoor: Tensor) -> tuple[Any, Any]:
        """The weights of the two losses: as given, or of MGDA, whose gradients are divided by their losses first."""
        if self.params.weights == "fixed":
            return self.params.clean_weight, self.params.backdoor_weight
        gradients = [
            [part / one.detach().clamp_min(1e-6) for part in torch.autograd.grad(one, self.learnt, retain_graph=True)]
            for one in (clean, backdoor)
        ]
        share = least_norm_weight(*gradients)
        return share, 1 - share


def pattern_of(params: BlindParams, shape: Sequence[int]) -> Patch:
    """A chequered pattern of black and white pixels.

    Raises:
        UserError: it does not fit.
    """
    high, wide = (
        max(1, round(size * min(shape[1:]))) if size < 1 else round(size) for size in (params.height, params.width)
    )
    grid = (torch.arange(high)[:, None] + torch.arange(wide)) % 2
    picture = (1.0 - grid.float()).expand(shape[0], high, wide)
    return placed(picture, shape, corner=params.place, margin=params.margin)


def inject(ctx: Context, params: BlindParams, model: Model, data: Data) -> Backdoored:
    """Train with the changed loss.

    Raises:
        UserError: no such class, the pattern does not fit, or an impossible rate.
    """
    samples = open_samples(data)
    rule = rule_of(params, samples)
    plan = plan_of(ctx, params, samples, rule)
    trigger = pattern_of(params, samples.modality.shape(samples.stored))
    victim = victim_of(ctx, params, model)
    learnt = [parameter for parameter in victim.parameters() if parameter.requires_grad]
    changed = BlindLoss(params, rule, trigger, learnt, RunningMean(params.history))
    changes = Changes(loss=changed.loss, state={"clean_losses": changed.clean_losses.kept})
    fit(ctx, victim, samples, params, changes)
    return seal_attack(ctx, victim, Backdoor(rule, trigger), samples, plan)
