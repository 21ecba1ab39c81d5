"""COMBAT (Huynh et al. 2024, AAAI): clean labels, and a generator that is trained jointly with a surrogate.

The surrogate f learns clean pictures, and those of the target class t also with the trigger; the generator h learns to
make f say t of triggered pictures of other classes:

    f: CE(f(x), y) + CE(f(T(x_t)), t)
    h: CE(f(T(x)), t) + a CE(c(T(x)), y) + b CE(d(T(x)), unchanged) + g |T(x) - x|^2

with T(x) = clip(x + epsilon LP(tanh h(x))), blurred if wanted, a clean classifier c, a frequency detector d and the
low-pass LP of the DCT. In the second line f is in evaluation mode.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdm_attack_combat.frequency import FrequencyDetector, low_pass, train_detector
from bdm_attack_combat.params import CombatParams
from bdm_core.artifacts import Data
from bdm_core.context import Context
from bdm_kit_classification.data.samples import LabelledSamples, open_samples
from bdm_kit_classification.models.classifier import Classifier
from bdm_kit_classification.poison.injection import train_surrogate
from bdm_kit_classification.poison.poisoning import poison_training_rows, require_plan
from bdm_kit_classification.training.fitting import Batch, Changes, fit
from bdm_kit_classification.triggers.generators import frozen_state, network_of, new_network
from bdm_kit_classification.triggers.trigger import Phase, Trigger
from bdm_torch.draws import Draw
from bdm_torch.objective import Along

LEAST_BLUR = 0.1
"""Least standard deviation of the blur, in pixels."""


def triggered(generator: nn.Module, x: Tensor, strength: float, frequencies: float) -> Tensor:
    """T(x) = clip(x + epsilon LP(tanh h(x))) to [0, 1]."""
    return (x + strength * low_pass(generator(x).tanh(), frequencies)).clamp(0, 1)


def blurred(x: Tensor, most: float, generator: torch.Generator | None) -> Tensor:
    """Pictures (N, C, H, W) under a 3x3 Gaussian each, of a standard deviation from .1 to ``most`` pixels; edges are
    mirrored. As they are if ``most`` is 0."""
    if not most or not len(x):
        return x
    deviation = LEAST_BLUR + (most - LEAST_BLUR) * torch.rand(len(x), 1, generator=generator).to(x)
    beside = torch.exp(-0.5 / deviation.square())
    weights = (torch.cat([beside, torch.ones_like(beside), beside], 1) / (1 + 2 * beside))[:, :, None, None, None]
    height, width = x.shape[2:]
    padded = functional.pad(x, (1, 1, 1, 1), mode="reflect")
    rows = torch.stack([padded[:, :, place : place + height] for place in range(3)], 1)
    down = (weights * rows).sum(1)
    columns = torch.stack([down[..., place : place + width] for place in range(3)], 1)
    return (weights * columns).sum(1)


@dataclass(frozen=True, eq=False)
class LowPassed(Trigger):
    """T(x) = clip(x + epsilon LP(tanh h(x))), then a faint blur if wanted.

    Attributes:
        network: state of the generator.
        strength: epsilon.
        frequencies: share of the DCT's rows and columns that the low-pass keeps.
        blur: largest standard deviation, see :func:`blurred`.
    """

    network: dict[str, Tensor]
    strength: float
    frequencies: float
    blur: float = 0.0

    def apply(self, x: Tensor, phase: Phase, generator: torch.Generator | None = None) -> Tensor:
        """The same in both phases."""
        changed = triggered(network_of(self.network, x), x, self.strength, self.frequencies)
        return blurred(changed, self.blur, generator)


@contextmanager
def asked(module: nn.Module) -> Iterator[None]:
    """Within this the module is only asked: it is in evaluation mode, and what it gives has a gradient with respect to
    its inputs, but not to its parameters."""
    learnt = [parameter for parameter in module.parameters() if parameter.requires_grad]
    training = module.training
    module.requires_grad_(False).eval()
    try:
        yield
    finally:
        module.train(training)
        for parameter in learnt:
            parameter.requires_grad_(True)


@dataclass(frozen=True, eq=False)
class CombatLoss:
    """The losses of surrogate and generator, summed: each reaches the parameters that it is meant for alone.

    Attributes:
        params: weights.
        generator: h.
        clean: c, fixed.
        detector: d, fixed.
    """

    params: CombatParams
    generator: nn.Module
    clean: nn.Module
    detector: nn.Module

    def loss(self, model: nn.Module, batch: Batch, draw: Draw) -> Tensor:
        """Both losses of a batch."""
        x, labels = batch.inputs, batch.labels
        changed = triggered(self.generator, x, self.params.strength, self.params.frequencies)
        changed = blurred(changed, self.params.blur, draw.generator)
        return self.of_surrogate(model, x, changed.detach(), labels) + self.of_generator(model, x, changed, labels)

    def of_surrogate(self, model: nn.Module, x: Tensor, changed: Tensor, labels: Tensor) -> Tensor:
        """CE(f(x), y) + CE(f(T(x_t)), t), in one forward pass."""
        own = labels == self.params.target
        logits = model(torch.cat([x, changed[own]]))
        loss = functional.cross_entropy(logits[: len(x)], labels)
        return loss + functional.cross_entropy(logits[len(x) :], labels[own]) if bool(own.any()) else loss

    def of_generator(self, model: nn.Module, x: Tensor, changed: Tensor, labels: Tensor) -> Tensor:
        """CE(f(T(x)), t) + a CE(c(T(x)), y) + b CE(d(T(x)), unchanged) + g |T(x) - x|^2 over rows of other classes.

        f is in evaluation mode: in training mode it would normalise a batch of triggered rows by the batch's own
        statistics, and keep those.
        """
        other = labels != self.params.target
        if not bool(other.any()):
            return changed.sum() * 0
        x, changed, labels = x[other], changed[other], labels[other]
        with asked(model):
            loss = functional.cross_entropy(model(changed), torch.full_like(labels, self.params.target))
        right = functional.cross_entropy(self.clean(changed), labels)
        unseen = functional.cross_entropy(self.detector(changed), torch.zeros_like(labels))
        loss = loss + self.params.clean_weight * right + self.params.frequency_weight * unseen
        return loss + self.params.change_weight * functional.mse_loss(changed, x)


def poison(ctx: Context, params: CombatParams, data: Data) -> Data:
    """Train generator and surrogate and poison rows of the target class; sealed in ``ctx.out / "data"``.

    Raises:
        UserError: the rate or the target is impossible.
    """
    samples = open_samples(data)
    require_plan(ctx, params, samples)  # what cannot be is said before anything is trained
    state = frozen_state(train_generator(ctx, params, samples))
    trigger = LowPassed(state, params.strength, params.frequencies, params.blur)
    return poison_training_rows(ctx, params, data, trigger)


def train_generator(ctx: Context, params: CombatParams, samples: LabelledSamples) -> nn.Module:
    """The generator, trained with a surrogate that is thrown away."""
    clean = train_surrogate(ctx, samples, params.model_copy(update={"epochs": params.clean_epochs}), label="clean")
    clean.requires_grad_(False)
    detector: FrequencyDetector = train_detector(ctx, samples, params.detector_steps, params.batch_size)
    channels = samples.stored.shape[1]
    generator = new_network(ctx.seed, channels, channels, params.width)
    surrogate: Classifier = samples.modality.small_classifier(samples.stored, samples.classes, ctx.seed + 1)
    changed = CombatLoss(params, generator, clean, detector.to(clean.device).eval())
    changes = Changes(loss=changed.loss, along={"generator": along(generator, params)})
    joint = params.model_copy(update={"epochs": params.joint_epochs})
    fit(ctx, surrogate, samples, joint, changes, label="joint")
    return generator


def along(generator: nn.Module, params: CombatParams) -> Along:
    """The generator with its optimiser; sgd has the momentum and the decay of the surrogate's."""
    if params.generator_optimizer == "adam":
        return Along(generator, params.generator_rate)
    momentum, decay = params.momentum, params.weight_decay
    return Along(generator, params.generator_rate, optimizer="sgd", momentum=momentum, weight_decay=decay)
