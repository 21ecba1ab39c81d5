"""The search for a mask and a pattern for each class (Wang et al., Neural Cleanse, S&P 2019, equations 2 and 3).

A picture x gets the trigger (m, p) as x' = (1 - m) x + m p, with m (1, H, W) and p (C, H, W) in [0, 1]. For each class
y the search minimises the cross entropy of f(x') and y plus w times a size, over clean rows. The weight w adapts: it
grows while the trigger succeeds, and falls while it does not. Of all triggers seen that succeed, the smallest is kept.
Classes are independent of each other and are searched at the same time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.inversion.params import FEWEST_CLASSES, InversionParams
from bdm_kit_classification.models.classifier import Classifier
from bdm_torch.draws import Draw

UP, DOWN = 2.0, 2.0**1.5
"""By what the weight of size is multiplied, or divided, as in the code that Wang et al. published."""

AT_ONCE, MANY = {"cpu": 64}, 4096
"""Stamped rows that the network sees at once: on a processor so few that what they become stays in its caches."""


@dataclass(frozen=True, eq=False)
class Stamp:
    """What a size is computed from, in one step of the search.

    Attributes:
        masks: (K, 1, H, W) in [0, 1], with gradient.
        patterns: (K, C, H, W) in [0, 1], with gradient.
        targets: (K,) int64, the class of each.
        inputs: clean rows (b, C, H, W).
        labels: (b,) int64, their classes.
        classifier: the model.
    """

    masks: Tensor
    patterns: Tensor
    targets: Tensor
    inputs: Tensor
    labels: Tensor
    classifier: Classifier


Size = Callable[[Stamp], Tensor]
"""size(stamp): how large, or unlike a trigger, each of K is; (K,), with gradient."""


@dataclass(frozen=True, eq=False)
class Inverted:
    """The triggers found, on the CPU.

    Attributes:
        masks: (K, 1, H, W) in [0, 1].
        patterns: (K, C, H, W) in [0, 1].
        success: (K,) share of clean rows that each sends to its class, over the looks at which it was kept.
    """

    masks: Tensor
    patterns: Tensor
    success: Tensor

    @property
    def norms(self) -> Tensor:
        """The L1 norm of each mask, (K,), in pixels."""
        return self.masks.flatten(1).sum(1)


def stamped(inputs: Tensor, mask: Tensor, pattern: Tensor) -> Tensor:
    """Pictures with a trigger: (1 - m) x + m p.

    >>> stamped(torch.zeros(2, 1, 1, 2), torch.tensor([[[1.0, 0.5]]]), torch.ones(1, 1, 2)).flatten(1).tolist()
    [[1.0, 0.5], [1.0, 0.5]]
    """
    return (1 - mask) * inputs + mask * pattern


def area(stamp: Stamp) -> Tensor:
    """The L1 norm of each mask: the size that Neural Cleanse minimises."""
    return stamp.masks.flatten(1).sum(1)


def require_classes(classifier: Classifier, name: str) -> None:
    """Raises UserError if there are too few classes to compare their triggers."""
    if len(classifier.classes) < FEWEST_CLASSES:
        raise UserError(
            f"{name} compares the triggers of classes and needs at least {FEWEST_CLASSES} of them, this model has "
            f"{len(classifier.classes)}"
        )


def invert(
    ctx: Context,
    classifier: Classifier,
    samples: LabelledSamples,
    params: InversionParams,
    size: Size = area,
    targets: Sequence[int] | None = None,
) -> Inverted:
    """Find a trigger for each class.

    Args:
        ctx: seed, device and progress.
        classifier: in evaluation mode; its parameters are left as they are.
        samples: clean rows, all classes together.
        params: of the search.
        size: what is minimised beside the cross entropy.
        targets: the classes; None for all.

    Returns:
        One trigger for each class. Where none succeeded it is the last one.
    """
    classifier.eval().requires_grad_(False)
    device = classifier.device
    aims = torch.tensor(list(range(len(classifier.classes)) if targets is None else targets), device=device)
    count, shape = len(aims), samples.modality.collate(samples.raw([0]), classifier).shape[1:]
    generator = torch.Generator().manual_seed(ctx.seed % 2**63)
    start = torch.rand(count, 1 + shape[0], *shape[1:], generator=generator).clamp(0.01, 0.99)
    free = torch.logit(start).to(device).requires_grad_(True)  # sigmoid(free): the mask, then the pattern
    optimiser = torch.optim.Adam([free], lr=params.inversion_rate, betas=(0.5, 0.9))
    weight = torch.full((count,), params.size_weight, device=device)
    streak = torch.zeros(2, count, dtype=torch.int64, device=device)  # looks in a row above, and below
    kept = torch.sigmoid(free).detach().clone()
    least, reached = torch.full((count,), float("inf"), device=device), torch.zeros(count, device=device)
    hits = torch.zeros(count, device=device)
    together = max(1, AT_ONCE.get(device.type, MANY) // min(params.inversion_batch, len(samples)))
    for step in range(params.inversion_steps):
        draw = Draw(ctx.seed, step, min(params.inversion_batch, len(samples)))
        rows = draw.rows(len(samples))
        inputs, labels = samples.modality.collate(samples.raw(rows), classifier), samples.labels[rows].to(device)
        error = torch.zeros(count, device=device)
        for start in range(0, count, together):
            part = slice(start, start + together)
            values = torch.sigmoid(free[part])
            stamp = Stamp(values[:, :1], values[:, 1:], aims[part], inputs, labels, classifier)
            logits = logits_of(stamp)
            wanted = aims[part, None].expand(-1, len(rows))
            errors = functional.cross_entropy(logits.transpose(1, 2), wanted, reduction="none").mean(1)
            (errors + weight[part] * size(stamp)).sum().backward()
            hits[part] += (logits.argmax(2) == wanted).float().mean(1)
            error[part] = errors.detach()
        if (step + 1) % params.check_every == 0 or step + 1 == params.inversion_steps:
            looked = step % params.check_every + 1
            now = torch.sigmoid(free).detach()
            rate, norm = hits / looked, now[:, :1].flatten(1).sum(1)
            better = (rate >= params.success) & (norm < least) | (least.isinf() & (rate < params.success))
            kept[better], reached[better] = now[better], rate[better]
            least = torch.where(better & (rate >= params.success), norm, least)
            weight = adapted(weight, streak, rate >= params.success, params)
            hits.zero_()
            ctx.progress("trigger inversion", step + 1, params.inversion_steps, float(error.mean()))
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
    classifier.requires_grad_(True)
    ctx.figures(network_evaluations=params.inversion_steps * params.inversion_batch * count)
    return Inverted(kept[:, :1].cpu(), kept[:, 1:].cpu(), reached.cpu())


def logits_of(stamp: Stamp) -> Tensor:
    """What the classifier says of every row with every trigger, (K, b, classes)."""
    pictures = stamped(stamp.inputs, stamp.masks[:, None], stamp.patterns[:, None])
    return stamp.classifier(pictures.flatten(0, 1)).view(len(stamp.masks), len(stamp.inputs), -1)  # type: ignore[no-any-return]


def adapted(weight: Tensor, streak: Tensor, enough: Tensor, params: InversionParams) -> Tensor:
    """The weights of size after a look; ``streak`` is changed in place."""
    streak[0] = torch.where(enough, streak[0] + 1, 0)
    streak[1] = torch.where(enough, 0, streak[1] + 1)
    up, down = streak[0] >= params.patience, streak[1] >= params.patience
    streak[0][up] = 0
    streak[1][down] = 0
    return torch.where(up, weight * UP, torch.where(down, weight / DOWN, weight))
