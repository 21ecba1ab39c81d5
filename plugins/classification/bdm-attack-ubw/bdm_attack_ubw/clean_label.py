"""Untargeted backdoor watermark with clean labels (UBW-C; Li et al. 2022, arXiv 2210.00875, section 3.3).

Bi-level: perturb some training rows, |delta| <= epsilon and labels as they are, such that a network that is trained on
them tells triggered pictures wrong and without certainty:

    max over delta of the mean of CE(f_w(G(x)), y) + lambda H(f_w(G(x))),
    w = argmin of the training loss on the rows with delta.

By gradient matching: delta turns the gradient of the training loss of the perturbed rows into that of the outer loss,
whose descent would bring that about. The network is trained anew, on the rows as they are perturbed so far, after each
period.
"""

from __future__ import annotations

import math
import random
from dataclasses import replace

import torch
from torch import Tensor

from bdm_attack_ubw.matching import gradient_norms, matching_slope, outer_gradient
from bdm_attack_ubw.params import UbwParams
from bdm_core.artifacts import Data
from bdm_core.context import Context
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.models.classifier import Classifier
from bdm_kit_classification.poison.injection import train_surrogate
from bdm_kit_classification.poison.poisoning import plan_of, rule_of, seal_changed
from bdm_kit_classification.poison.secret import Backdoor
from bdm_kit_classification.poison.selection import Plan, may_be_poison
from bdm_kit_classification.triggers.trigger import Trigger, apply_in_batches
from bdm_torch.draws import step_seed

DECAYS = (0.375, 0.625, 0.875)
"""Shares of all steps after which a step is a tenth as large, as in the released code."""


def poison_with_clean_labels(ctx: Context, params: UbwParams, samples: LabelledSamples, trigger: Trigger) -> Data:
    """Perturbed training rows, sealed in ``ctx.out / "data"``; no row has the trigger, and every label is true.

    Args:
        ctx: of the stage.
        params: rate, bound and optimisation.
        samples: clean training rows.
        trigger: G, what the finished model is to be wrong behind.

    Raises:
        UserError: the rate is impossible.
    """
    rule = rule_of(params, samples).model_copy(update={"keep_labels": True})
    count = len(plan_of(ctx, params, samples, rule).poison)
    own = params.model_copy(update={"epochs": params.surrogate_epochs})
    surrogate = train_surrogate(ctx, samples, own)
    able = [row for row, label in enumerate(samples.labels.tolist()) if may_be_poison(params.selection, rule, label)]
    rows = telling_rows(ctx, surrogate, samples, able, count)
    outer = outer_rows(ctx, samples, set(rows), params.outer_rows)
    wrong = apply_in_batches(trigger, samples.raw(outer), "train", ctx.seed)
    truth = samples.labels[outer]
    crafting = Crafting(ctx, params, samples.raw(rows), samples.labels[rows])
    changed = samples
    for period in range(params.periods):
        if period:
            later = replace(ctx, seed=(ctx.seed + period) % 2**63)
            surrogate = train_surrogate(later, changed, own, label=f"surrogate {period + 1}")
        device = surrogate.device
        slope = outer_gradient(surrogate, wrong.to(device), truth.to(device), params.dispersion)
        crafting.run(surrogate, slope, period)
        changed = samples.changed(rows, crafting.best())
    facts = {"matching_losses": [[round(value, 5) for value in losses] for losses in crafting.losses]}
    plan = Plan(rows, [], [])
    return seal_changed(ctx.out / "data", samples, changed, Backdoor(rule, trigger, None, facts), plan, seed=ctx.seed)


def telling_rows(
    ctx: Context, surrogate: Classifier, samples: LabelledSamples, able: list[int], count: int
) -> list[int]:
    """The rows whose training gradients are the largest, in ascending order: they move a training most."""
    norms: list[float] = []
    for start in range(0, len(able), 256):
        ctx.progress("gradient norms", start, len(able))
        some = able[start : start + 256]
        x = samples.modality.collate(samples.raw(some), surrogate)
        norms += gradient_norms(surrogate, list(x), list(samples.labels[some].to(x.device)))
    order = sorted(range(len(able)), key=lambda place: (-norms[place], place))
    return sorted(able[place] for place in order[:count])


def outer_rows(ctx: Context, samples: LabelledSamples, taken: set[int], count: int) -> list[int]:
    """Rows that are to be told wrong behind the trigger: at most ``count`` of those that are not perturbed, drawn."""
    left = [row for row in range(len(samples)) if row not in taken] or list(range(len(samples)))
    random.Random(f"outer/{ctx.seed}").shuffle(left)
    return sorted(left[:count])


class Crafting:
    """Perturbations of the same rows from several random starts, side by side.

    Args:
        ctx: of the stage; its seed draws the starts.
        params: bound, starts, steps.
        x: clean pictures (N, C, H, W) in [0, 1].
        labels: their true labels (N,).

    Attributes:
        losses: the mismatch of each start at the end of each period.
    """

    def __init__(self, ctx: Context, params: UbwParams, x: Tensor, labels: Tensor) -> None:
        self.ctx, self.params, self.x, self.labels = ctx, params, x, labels
        self.losses: list[list[float]] = []
        self.deltas: list[Tensor] = []
        for start in range(params.restarts):
            generator = torch.Generator().manual_seed(step_seed(ctx.seed, start, "perturbation"))
            self.deltas.append(self._within((torch.rand(x.shape, generator=generator) * 2 - 1) * params.bound))
        self.optimizers = [torch.optim.Adam([delta], lr=params.craft_rate) for delta in self.deltas]

    def run(self, surrogate: Classifier, outer: Tensor, period: int) -> None:
        """The steps of one period against one surrogate: Adam on the signs of the slopes, or plain signed steps."""
        params, losses = self.params, []
        first, last = (round(edge * params.craft_steps / params.periods) for edge in (period, period + 1))
        x, labels = self.x.to(surrogate.device), self.labels.to(surrogate.device)
        for number, (delta, optimizer) in enumerate(zip(self.deltas, self.optimizers, strict=True)):
            value = math.nan
            for step in range(first, last):
                rate = params.craft_rate * 0.1 ** sum(step >= share * params.craft_steps for share in DECAYS)
                slope, value = matching_slope(surrogate, x + delta.to(x), labels, outer)
                self._move(delta, optimizer, slope.cpu().sign(), rate)
                done = first * params.restarts + number * (last - first) + step - first + 1
                self.ctx.progress("perturbation", done, params.craft_steps * params.restarts, value)
            losses.append(value)
        self.losses.append(losses)

    def best(self) -> Tensor:
        """The perturbed pictures of the start whose gradient matched best in the last period."""
        values = [math.inf if math.isnan(value) else value for value in self.losses[-1]]
        return self.x + self.deltas[values.index(min(values))]

    def _move(self, delta: Tensor, optimizer: torch.optim.Adam, sign: Tensor, rate: float) -> None:
        if self.params.craft_optimizer == "sign":
            delta -= rate * sign
        else:
            optimizer.param_groups[0]["lr"] = rate
            delta.grad = sign
            optimizer.step()
        delta.copy_(self._within(delta))

    def _within(self, delta: Tensor) -> Tensor:
        bound = self.params.bound
        return (self.x + delta.clamp(-bound, bound)).clamp(0, 1) - self.x
