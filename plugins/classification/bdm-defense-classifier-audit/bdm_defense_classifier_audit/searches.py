"""For each class the smallest change that sends every picture to it, within several kinds of change.

A backdoor is a shortcut: one change, the same for all pictures, that leads to one class. Of a clean model such a change
exists for every class too, and is about equally large for all; of a backdoored one that of the target is far smaller,
if the kind of change is like the trigger. Several kinds of change are tried, all classes at once, and with no picture
the largest margin of each class (Wang et al., MM-BD, 2024, arXiv 2205.06900).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from bdm_defense_classifier_audit.params import MARGIN_STARTS, MARGIN_STEPS
from bdm_kit_classification.models.classifier import Classifier

Apply = Callable[[Tensor, Tensor], Tensor]
"""apply(changes (K, ...), pictures (n, C, H, W)) -> logits (K n, classes)."""
SUCCESS = 0.9
"""A change succeeds if it sends such a share of the pictures of other classes to its class."""
FAILED = 1.5
"""What has not succeeded counts as so many times the last size tried."""
GRID = 5
"""A warp has so many control points a side."""


class Aims:
    """What K changes aim at: change k sends pictures of other classes to class k.

    Args:
        labels: (n,) the true classes.
        classes: K.
    """

    def __init__(self, labels: Tensor, classes: int) -> None:
        self.classes, self.count = classes, len(labels)
        self.targets = torch.arange(classes, device=labels.device).repeat_interleave(self.count)
        self.counts = (labels.repeat(classes) != self.targets).float().view(classes, self.count)

    def error(self, logits: Tensor) -> Tensor:
        """Mean cross entropy to the class aimed at, (K,)."""
        each = functional.cross_entropy(logits, self.targets, reduction="none").view(self.classes, self.count)
        return self._mean(each)

    def success(self, logits: Tensor) -> Tensor:
        """Share of pictures of other classes that arrive, (K,)."""
        return self._mean((logits.argmax(1) == self.targets).float().view(self.classes, self.count))

    def _mean(self, each: Tensor) -> Tensor:
        return (each * self.counts).sum(1) / self.counts.sum(1).clamp_min(1)


def smallest_norms(
    apply: Apply, pictures: Tensor, aims: Aims, shape: tuple[int, ...], steps: int, seed: int, start: float = 0.08
) -> Tensor:
    """The smallest L2 norm of a change for each class, (K,).

    Direction and norm are searched apart (Rony et al., DDN, CVPR 2019, arXiv 1811.09600, here for one change of all
    pictures): a step along the gradient's direction, then the change is brought to a radius that shrinks after a
    success and grows after a failure.

    Args:
        apply: the kind of change.
        pictures: (n, C, H, W) in [0, 1].
        aims: what to reach.
        shape: of one change.
        steps: forward and backward passes of K n pictures.
        seed: of the first direction.
        start: the first radius, times the root of how many numbers a change has.
    """
    each = (-1, *[1] * len(shape))
    generator = torch.Generator().manual_seed(seed % 2**63)
    change = torch.randn(aims.classes, *shape, generator=generator).to(pictures.device)
    change = 1e-3 * change / change.flatten(1).norm(dim=1).view(each)
    radius = torch.full((aims.classes,), start * math.sqrt(math.prod(shape)), device=pictures.device)
    best = torch.full_like(radius, float("nan"))
    for step in range(steps):
        change.requires_grad_(True)
        logits = apply(change, pictures)
        (gradient,) = torch.autograd.grad(aims.error(logits).sum(), change)
        with torch.no_grad():
            norm, hit = change.flatten(1).norm(dim=1), aims.success(logits) >= SUCCESS
            best = torch.where(hit & ~(best <= norm), norm, best)
            radius = torch.where(hit, torch.minimum(radius, norm) * 0.95, radius * 1.05)
            length = 0.15 * (1 + math.cos(math.pi * step / steps))
            way = gradient / gradient.flatten(1).norm(dim=1).clamp_min(1e-12).view(each)
            change = change.detach() - (radius * length).view(each) * way
            change *= (radius / change.flatten(1).norm(dim=1).clamp_min(1e-12)).view(each)
    return torch.where(best.isnan(), FAILED * radius, best)


def added(classifier: Classifier) -> Apply:
    """The same numbers are added to every picture: for blended pictures, waves, spectra, quantisation."""
    return lambda change, pictures: classifier((pictures[None] + change[:, None]).clamp(0, 1).flatten(0, 1))


def warped(classifier: Classifier, height: int, width: int) -> Apply:
    """Every picture is warped by the same smooth flow, (2, 5, 5) in units of half the picture."""
    axes = torch.linspace(-1, 1, height), torch.linspace(-1, 1, width)
    vertical, horizontal = torch.meshgrid(*axes, indexing="ij")
    straight = torch.stack([horizontal, vertical], -1).to(classifier.device)

    def apply(change: Tensor, pictures: Tensor) -> Tensor:
        flow = functional.interpolate(change, (height, width), mode="bicubic", align_corners=True)
        grid = (straight + flow.permute(0, 2, 3, 1))[:, None].expand(-1, len(pictures), -1, -1, -1).flatten(0, 1)
        every = pictures.expand(len(change), *pictures.shape).flatten(0, 1)
        return classifier(functional.grid_sample(every, grid, align_corners=True, padding_mode="border"))

    return apply


def smallest_patches(
    classifier: Classifier, pictures: Tensor, aims: Aims, steps: int, seed: int
) -> tuple[Tensor, Tensor]:
    """The smallest L1 norm of a mask for each class, (K,), and the patches m p (K, C, H, W) that have it.

    As Neural Cleanse (Wang et al., S&P 2019): x' = (1 - m) x + m p by Adam on cross entropy plus weight times |m|, the
    weight grows with success and falls without.
    """
    shape = (aims.classes, *pictures.shape[1:])
    generator = torch.Generator().manual_seed(seed % 2**63)
    mask = (0.5 * torch.randn(shape[0], 1, *shape[2:], generator=generator)).to(pictures.device).requires_grad_(True)
    pattern = torch.randn(shape, generator=generator).to(pictures.device).requires_grad_(True)
    optimiser = torch.optim.Adam([mask, pattern], lr=0.1, betas=(0.5, 0.9))
    weight = torch.full((aims.classes,), 1e-3, device=pictures.device)
    best, patches = torch.full_like(weight, float("nan")), torch.zeros(shape, device=pictures.device)
    norm = best
    for _ in range(steps):
        m, p = torch.tanh(mask) / 2 + 0.5, torch.tanh(pattern) / 2 + 0.5
        logits = classifier(((1 - m[:, None]) * pictures + m[:, None] * p[:, None]).flatten(0, 1))
        norm = m.flatten(1).sum(1)
        optimiser.zero_grad()
        (aims.error(logits) + weight * norm).sum().backward()
        optimiser.step()
        norm, hit = norm.detach(), aims.success(logits.detach()) >= SUCCESS
        better = hit & ~(best <= norm)
        best = torch.where(better, norm, best)
        patches = torch.where(better.view(-1, 1, 1, 1), (m * p).detach(), patches)
        weight = torch.where(hit, weight * 1.15, weight / 1.2).clamp(1e-5, 0.5)
    return torch.where(best.isnan(), FAILED * norm, best), patches


def largest_margins(
    classifier: Classifier, shape: tuple[int, ...], seed: int, steps: int = MARGIN_STEPS, starts: int = MARGIN_STARTS
) -> Tensor:
    """The largest margin of each class over all others on any picture in [0, 1], (K,), by ascent from random ones."""
    classes = len(classifier.classes)
    generator = torch.Generator().manual_seed(seed % 2**63)
    pictures = torch.rand(classes * starts, *shape, generator=generator).to(classifier.device)
    own = torch.arange(classes, device=pictures.device).repeat_interleave(starts)[:, None]
    moving, margin = torch.zeros_like(pictures), torch.zeros(len(pictures))
    for _ in range(steps):
        pictures.requires_grad_(True)
        logits = classifier(pictures)
        margin = logits.gather(1, own)[:, 0] - logits.scatter(1, own, -torch.inf).amax(1)
        (gradient,) = torch.autograd.grad(margin.sum(), pictures)
        moving = 0.9 * moving + gradient / gradient.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, 1, 1, 1)
        pictures = (pictures.detach() + 0.3 * moving).clamp(0, 1)
    return margin.detach().view(classes, starts).amax(1)
