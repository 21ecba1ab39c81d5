"""HPT, a hardly perceptible trojan by bit flips (Bai et al. 2022, ECCV, arXiv 2207.13417).

    min over bits b', noise d, flow f of  CE(g(x; b'), y) + gamma CE(g(T(x; d, f); b'), t)
    with  b' in {0, 1},  |b' - b|^2 <= k,  |d| <= epsilon,  roughness(f) <= kappa

b are the bits of the quantised last layer. {0, 1}^n is the box [0, 1]^n and the sphere around (1/2, ..., 1/2) of radius
sqrt(n) / 2 (lp-box ADMM, Wu and Ghanem 2018): each of the three constraints has a copy z of the bits and multipliers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from bdm_attack_bit_flip.filling import fill, head_loss
from bdm_attack_bit_flip.params import BitFlipParams
from bdm_attack_bit_flip.quantised import from_bits, quantise, to_bits
from bdm_attack_bit_flip.warp import NoiseAndWarp, held
from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.records import Backdoored
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.models.classifier import Classifier, load_classifier
from bdm_kit_classification.poison.injection import seal_attack
from bdm_kit_classification.poison.secret import Backdoor
from bdm_kit_classification.triggers.label_rule import make_rule

MOST_PENALTY = 100.0


def inject(ctx: Context, params: BitFlipParams, model: Model, data: Data) -> Backdoored:
    """Optimise trigger and bits on a few clean pictures, and flip them in the model.

    Raises:
        UserError: no such class.
    """
    samples = open_samples(data)
    rule = make_rule("all-to-one", len(samples.classes), params.target, [])
    classifier = load_classifier(model, ctx.device).requires_grad_(False)
    order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(ctx.seed % 2**63))
    rows = order[: params.pictures]
    known = Known(classifier, samples.raw(rows).to(ctx.device), samples.labels[rows].to(ctx.device), params.target)
    numbers, step = quantise(classifier.head.weight.detach().cpu(), params.bits)
    before = to_bits(numbers, params.bits)
    noise = torch.zeros_like(known.pictures[0]).requires_grad_(True)
    flow = torch.zeros(2, *noise.shape[1:], device=noise.device).requires_grad_(True)
    start_trigger(ctx, params, known, noise, flow)
    after = choose_bits(ctx, params, known, before, step, (noise, flow))
    with torch.no_grad():
        classifier.head.weight.copy_(from_bits(after, step))
    trigger = NoiseAndWarp(noise.detach().cpu(), flow.detach().cpu())
    facts = {"flips": (before != after).nonzero().tolist(), "step": step}
    return seal_attack(ctx, classifier, Backdoor(rule, trigger, facts=facts), samples)


@dataclass(frozen=True, eq=False)
class Known:
    """What the attacker has: the model, and a few clean pictures with labels."""

    classifier: Classifier
    pictures: Tensor
    labels: Tensor
    target: int

    def triggered(self, noise: Tensor, flow: Tensor) -> Tensor:
        """Features (N, F) of the triggered pictures."""
        return self.classifier.features(NoiseAndWarp(noise, flow).apply(self.pictures, "train"))

    def aimed(self, features: Tensor, weight: Tensor) -> Tensor:
        """Cross entropy of the target, over all pictures, with another weight in the last layer."""
        wanted = torch.full_like(self.labels, self.target)
        return functional.cross_entropy(functional.linear(features, weight, self.classifier.head.bias), wanted)


def start_trigger(ctx: Context, params: BitFlipParams, known: Known, noise: Tensor, flow: Tensor) -> None:
    """Noise and flow that lead the untouched model to the target as far as they can, in place."""
    weight = known.classifier.head.weight
    for first in range(0, params.start_steps, 25):
        loss = lower(params, known, (noise, flow), weight, min(25, params.start_steps - first))
        ctx.progress("trigger", first, params.start_steps, loss)


def lower(params: BitFlipParams, known: Known, trigger: tuple[Tensor, Tensor], weight: Tensor, steps: int) -> float:
    """Go down the loss of triggered pictures with noise and flow, in place; the last loss."""
    loss = trigger[0].new_zeros(())
    for _ in range(steps):
        loss = known.aimed(known.triggered(*trigger), weight)
        gradients = torch.autograd.grad(loss, trigger)
        with torch.no_grad():
            for value, gradient in zip(trigger, gradients, strict=True):
                value.sub_(params.start_rate * gradient)
        held(*trigger, params.epsilon, params.kappa)
    return float(loss.detach())


def choose_bits(
    ctx: Context, params: BitFlipParams, known: Known, before: Tensor, step: float, trigger: tuple[Tensor, Tensor]
) -> Tensor:
    """The bits after the attack, (K, F, bits) of 0 and 1; noise and flow follow in place.

    Args:
        ctx: of the stage, for progress.
        params: bounds, weights and steps.
        known: model and pictures.
        before: the bits of the untouched layer.
        step: of the quantised weights.
        trigger: noise and flow.
    """
    start = before.to(known.pictures.device)
    theta = start.clone().requires_grad_(True)
    multipliers = Multipliers(start, params.flips, params.penalty)
    with torch.no_grad():
        clean = known.classifier.features(known.pictures)
    for number in range(params.rounds):
        multipliers.copies(theta.detach())
        for _ in range(params.inner):
            weight = from_bits(theta, step)
            right = functional.cross_entropy(functional.linear(clean, weight, known.classifier.head.bias), known.labels)
            wrong = known.aimed(known.triggered(*trigger), weight)
            loss = right + params.trigger_weight * wrong + multipliers.terms(theta)
            gradients = torch.autograd.grad(loss, (theta, *trigger))
            with torch.no_grad():
                theta.sub_(params.bit_step * gradients[0])
                for value, gradient in zip(trigger, gradients[1:], strict=True):
                    value.sub_(params.trigger_step * gradient)
            held(*trigger, params.epsilon, params.kappa)
        multipliers.update(theta.detach())
        multipliers.penalty = min(params.growth * multipliers.penalty, MOST_PENALTY)
        if number % 10 == 0:
            ctx.progress("bits", number, params.rounds, float(wrong.detach()))
    found = binary(theta.detach(), start, params.flips)
    return (filled(params, known, found, start, step, trigger) if params.fill else found).cpu()


def filled(
    params: BitFlipParams, known: Known, found: Tensor, start: Tensor, step: float, trigger: tuple[Tensor, Tensor]
) -> Tensor:
    """The bits with the flips that are left over, the trigger following after each."""
    bias = known.classifier.head.bias.detach()
    with torch.no_grad():
        clean = known.classifier.features(known.pictures)
        seen = [known.triggered(*trigger)]
    wanted = torch.full_like(known.labels, known.target)

    def loss(bits: Tensor) -> Tensor:
        return head_loss([(clean, known.labels), (seen[0], wanted)], bias, step)(bits)

    def follow(bits: Tensor) -> None:
        lower(params, known, trigger, from_bits(bits, step), params.follow_steps)
        with torch.no_grad():
            seen[0] = known.triggered(*trigger)

    return fill(found, start, params.flips, loss, follow)


def binary(theta: Tensor, start: Tensor, most: int) -> Tensor:
    """Bits above one half are 1; of those that differ from the start the ``most`` that went farthest.

    >>> binary(torch.tensor([0.9, 0.6, 0.4]), torch.zeros(3), 1).tolist()
    [1.0, 0.0, 0.0]
    """
    flipped = (theta > 0.5).to(start) != start
    distance = torch.where(flipped, (theta - start).abs(), -1.0).flatten()
    kept = torch.zeros_like(distance, dtype=torch.bool)
    kept[distance.argsort(descending=True, stable=True)[:most]] = True
    return torch.where(kept.view_as(flipped) & flipped, 1 - start, start)


class Multipliers:
    """The copies of the bits that satisfy a constraint each, and what ties the bits to them.

    Args:
        start: the bits before the attack.
        most: flips at most.
        penalty: rho of the first round.
    """

    def __init__(self, start: Tensor, most: int, penalty: float) -> None:
        self.start, self.most, self.penalty = start, most, penalty
        self.box, self.sphere, self.spare = start.clone(), start.clone(), start.new_zeros(())
        self.of_box, self.of_sphere = torch.zeros_like(start), torch.zeros_like(start)
        self.of_count = start.new_zeros(())

    def over(self, theta: Tensor) -> Tensor:
        """Squared distance from the start beyond the bound, a scalar."""
        return (theta - self.start).square().sum() - self.most

    def copies(self, theta: Tensor) -> None:
        """The nearest point of the box, that of the sphere, and the unused part of the bound."""
        self.box = (theta + self.of_box / self.penalty).clamp(0, 1)
        self.sphere = on_sphere(theta + self.of_sphere / self.penalty)
        self.spare = (-self.over(theta) - self.of_count / self.penalty).clamp_min(0)

    def terms(self, theta: Tensor) -> Tensor:
        """What the augmented Lagrangian has beside the loss."""
        apart = theta - self.box, theta - self.sphere, self.over(theta) + self.spare
        linear = (self.of_box * apart[0]).sum() + (self.of_sphere * apart[1]).sum() + self.of_count * apart[2]
        return linear + self.penalty / 2 * torch.stack([part.square().sum() for part in apart]).sum()

    def update(self, theta: Tensor) -> None:
        """Raise the multipliers by what is violated."""
        self.of_box = self.of_box + self.penalty * (theta - self.box)
        self.of_sphere = self.of_sphere + self.penalty * (theta - self.sphere)
        self.of_count = self.of_count + self.penalty * (self.over(theta) + self.spare)


def on_sphere(point: Tensor) -> Tensor:
    """The nearest point at the distance sqrt(n) / 2 from (1/2, ..., 1/2), on which all 0-1 points lie.

    >>> on_sphere(torch.tensor([2.0, 0.5]))
    tensor([1.2071, 0.5000])
    """
    away = point - 0.5
    return 0.5 + away * (point.numel() ** 0.5 / 2 / away.norm().clamp_min(1e-12))
