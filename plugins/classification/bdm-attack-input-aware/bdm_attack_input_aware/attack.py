"""Input-Aware (Nguyen and Tran 2020, arXiv 2010.08138): x' = (1 - m(x)) x + m(x) p(x), and m(x), p(x) serve x alone.

The mask network m is trained first and then fixed (equations 6 and 7 of the diversity and the density of masks); the
pattern network p is trained with the classifier (equations 3 to 5).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdm_attack_input_aware.params import InputAwareParams
from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.records import Backdoored
from bdm_kit_classification.data.samples import LabelledSamples, open_samples
from bdm_kit_classification.poison.injection import seal_attack, victim_of
from bdm_kit_classification.poison.poisoning import plan_of, rule_of
from bdm_kit_classification.poison.secret import Backdoor
from bdm_kit_classification.training.fitting import Batch, Changes, fit
from bdm_kit_classification.triggers.batch_labels import draw_roles, poison_labels
from bdm_kit_classification.triggers.generators import frozen_state, network_of, new_network
from bdm_kit_classification.triggers.label_rule import LabelRule
from bdm_kit_classification.triggers.trigger import Phase, Trigger
from bdm_torch.draws import Draw
from bdm_torch.objective import Along
from bdm_torch.training import TrainingOptions, train_in_stage

State = dict[str, Tensor]
SHARPNESS = 10.0
"""Steepness of the mask's last step: it is nearly 0 or 1 almost everywhere."""
DONORS = 16
"""Pictures whose triggers the negatives of the secret get."""


def mask_of(network: nn.Module, x: Tensor) -> Tensor:
    """m(x), (N, 1, H, W) in (0, 1): a steep step at 0.5 of a bounded output."""
    share = 0.5 + 0.5 * network(x).tanh()
    return (SHARPNESS * (2 * share - 1)).tanh() / 2 + 0.5


def pattern_of(network: nn.Module, x: Tensor) -> Tensor:
    """p(x), (N, C, H, W) in [0, 1]."""
    return 0.5 + 0.5 * network(x).tanh()


def diversity(one: Tensor, other: Tensor, made: Tensor, made_other: Tensor) -> Tensor:
    """Mean of ||x - x'|| / ||g(x) - g(x')|| with root mean squares as norms (equation 5)."""
    distances = [(a - b).square().flatten(1).mean(1).add(1e-8).sqrt() for a, b in ((one, other), (made, made_other))]
    return (distances[0] / (distances[1] + 1e-4)).mean()


def excess(masks: Tensor, density: float, *, each_pixel: bool) -> Tensor:
    """By how much masks (N, 1, H, W) are above the density: each pixel, or each mask's mean; the mean of that.

    >>> masks = torch.tensor([1.0, 0.0, 0.0, 0.0]).view(1, 1, 2, 2)
    >>> [round(float(excess(masks, 0.2, each_pixel=one)), 4) for one in (True, False)]
    [0.2, 0.05]
    """
    flat = masks.flatten(1)
    return ((flat if each_pixel else flat.mean(1)) - density).relu().mean()


@dataclass(frozen=True, eq=False)
class OwnTrigger(Trigger):
    """x' = (1 - m(x)) x + m(x) p(x).

    Attributes:
        mask, pattern: states of the two networks.
    """

    mask: State
    pattern: State

    def apply(self, x: Tensor, phase: Phase, generator: torch.Generator | None = None) -> Tensor:
        """The same in both phases."""
        return stamped(x, *triggers_of(network_of(self.mask, x), network_of(self.pattern, x), x))


@dataclass(frozen=True, eq=False)
class CrossTrigger(Trigger):
    """x' = (1 - m(x2)) x + m(x2) p(x2) with another picture x2: must not set the backdoor off.

    Attributes:
        mask, pattern: states of the two networks.
        donors: the pictures (K, C, H, W) of which x2 is drawn.
    """

    mask: State
    pattern: State
    donors: Tensor

    def apply(self, x: Tensor, phase: Phase, generator: torch.Generator | None = None) -> Tensor:
        """A donor for each picture."""
        chosen = torch.randint(len(self.donors), (len(x),), generator=generator)
        others = self.donors[chosen].to(x)
        return stamped(x, *triggers_of(network_of(self.mask, x), network_of(self.pattern, x), others))


def triggers_of(mask: nn.Module, pattern: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Mask and pattern for pictures."""
    return mask_of(mask, x), pattern_of(pattern, x)


def stamped(x: Tensor, mask: Tensor, pattern: Tensor) -> Tensor:
    """(1 - m) x + m p."""
    return x + mask * (pattern - x)


def train_mask(ctx: Context, params: InputAwareParams, samples: LabelledSamples) -> nn.Module:
    """The mask network: masks that differ as pictures do, and of no more than the density; frozen afterwards."""
    network = new_network(ctx.seed, samples.stored.shape[1], 1, params.width)

    def loss(model: nn.Module, draw: Draw) -> Tensor:
        x = samples.raw(draw.rows(len(samples))).to(draw.device)
        masks = mask_of(model, x)
        dense = excess(masks, params.density, each_pixel=params.density_of == "pixel")
        apart = diversity(x, x.roll(1, 0), masks, masks.roll(1, 0))
        return params.diversity_weight * apart + params.density_weight * dense

    steps = params.model_copy(update={"epochs": params.mask_epochs}).steps(len(samples))
    options = TrainingOptions(
        steps=steps, batch_size=params.batch_size, learning_rate=params.mask_rate, optimizer="adam"
    )
    train_in_stage(ctx, network, loss, options, label="mask", curve="mask loss")
    return network.requires_grad_(False)


@dataclass(frozen=True, eq=False)
class InputAwareLoss:
    """Changes of the joint training: some rows get their own trigger, others that of another row.

    Attributes:
        params: rates and weights.
        rule: label rule.
        mask: fixed.
        pattern: trained along.
    """

    params: InputAwareParams
    rule: LabelRule
    mask: nn.Module
    pattern: nn.Module

    def loss(self, model: nn.Module, batch: Batch, draw: Draw) -> Tensor:
        """Cross entropy of the three kinds of rows in one forward pass, and the diversity of patterns."""
        x = batch.inputs
        poison, cross = draw_roles(self.params, self.rule, batch.labels, draw, self.params.cross_rate)
        order = (torch.arange(len(x)) + int(torch.randint(1, max(2, len(x)), (), generator=draw.generator))) % len(x)
        masks, patterns = triggers_of(self.mask, self.pattern, x)
        own, others = stamped(x, masks, patterns), stamped(x, masks[order], patterns[order])
        inputs = torch.where(_wide(poison), own, torch.where(_wide(cross), others, x))
        labels = torch.where(poison, poison_labels(self.rule, batch.labels, draw.generator), batch.labels)
        apart = diversity(x, x[order], patterns, patterns[order])
        classified = functional.cross_entropy(model(inputs), labels, label_smoothing=self.params.label_smoothing)
        return classified + self.params.diversity_weight * apart


def _wide(rows: Tensor) -> Tensor:
    return rows[:, None, None, None]


def inject(ctx: Context, params: InputAwareParams, model: Model, data: Data) -> Backdoored:
    """Train the mask network, then classifier and pattern network together.

    Raises:
        UserError: no such class, or an impossible rate.
    """
    samples = open_samples(data)
    rule = rule_of(params, samples)
    plan = plan_of(ctx, params, samples, rule, {"negative": params.cross_rate})
    victim = victim_of(ctx, params, model)
    mask = train_mask(ctx, params, samples)
    pattern = new_network(ctx.seed + 1, samples.stored.shape[1], samples.stored.shape[1], params.width)
    changes = InputAwareLoss(params, rule, mask, pattern)
    along = {"pattern": Along(pattern, params.generator_rate)}
    fit(ctx, victim, samples, params, Changes(loss=changes.loss, along=along))
    states = frozen_state(mask), frozen_state(pattern)
    density = mask_density(samples, states[0])
    donors = samples.raw((plan.poison or plan.negative)[:DONORS])
    backdoor = Backdoor(rule, OwnTrigger(*states), CrossTrigger(*states, donors), {"mask_density": density})
    return seal_attack(ctx, victim, backdoor, samples, plan)


def mask_density(samples: LabelledSamples, state: State) -> float:
    """Mean of the masks of the first 256 pictures."""
    x = samples.raw(range(min(256, len(samples))))
    return round(float(mask_of(network_of(state, x), x).mean()), 4)
