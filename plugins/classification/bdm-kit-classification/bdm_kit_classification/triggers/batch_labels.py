"""Label rules on the tensors of a batch, for attacks that change samples while they train."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bdm_kit_classification.poison.selection import may_be_poison
from bdm_kit_classification.triggers.label_rule import LabelRule

if TYPE_CHECKING:
    from bdm_kit_classification.poison.params import PoisonParams
    from bdm_torch.draws import Draw


def poison_labels(rule: LabelRule, labels: Tensor, generator: torch.Generator) -> Tensor:
    """The labels that poisoned rows with these true labels (b,) get; as :meth:`LabelRule.training_label`.

    Args:
        rule: of the attack.
        labels: (b,) int64, on any device.
        generator: of the step, for untargeted rules; on the CPU.

    >>> rule = LabelRule(kind="all-to-all", classes=3)
    >>> poison_labels(rule, torch.tensor([0, 2]), torch.Generator()).tolist()
    [1, 0]
    """
    if rule.kind == "clean-label":
        return labels
    if rule.kind == "all-to-all":
        return (labels + 1) % rule.classes
    if rule.kind == "untargeted":
        return (labels + torch.randint(1, rule.classes, labels.shape, generator=generator).to(labels)) % rule.classes
    assert rule.target is not None
    return torch.full_like(labels, rule.target)


def can_be_poisoned(rule: LabelRule, labels: Tensor) -> Tensor:
    """Which rows (b,) with these true labels may be poison: of the target class for clean labels, of the sources,
    of other classes than the target, or any; a boolean mask.

    >>> can_be_poisoned(LabelRule(kind="all-to-one", classes=3, target=0), torch.tensor([0, 2])).tolist()
    [False, True]
    """
    if rule.kind == "clean-label":
        return labels == rule.target
    if rule.kind == "source-specific":
        return torch.isin(labels, torch.tensor(rule.sources, device=labels.device))
    if rule.target is None:
        return torch.ones_like(labels, dtype=torch.bool)
    return labels != rule.target


def draw_roles(
    params: PoisonParams, rule: LabelRule, labels: Tensor, draw: Draw, negative_rate: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Which rows of a batch are poisoned and which are negatives this time, for attacks that draw them anew each batch.

    As many as the rates say, counted in the batch; a fraction of a row is a row now and then. Negatives are drawn with
    random numbers of their own: each row that is no poison is as likely to be one, whatever its class.

    Args:
        params: ``poison_rate`` (or ``target_class_share`` of the batch's rows of that class) and ``selection``.
        rule: of the attack.
        labels: (b,) true labels.
        draw: of the step.
        negative_rate: share of the rows that get the other trigger, of any class; 0 draws nothing for them.

    Returns:
        Two disjoint boolean masks (b,), of poison and of negatives.

    >>> from bdm_kit_classification.poison.params import PoisonParams
    >>> from bdm_torch.draws import Draw
    >>> rule, labels = LabelRule(kind="all-to-one", classes=2, target=0), torch.tensor([0, 1] * 4)
    >>> draw = Draw(seed=0, step=0, batch_size=8)
    >>> poison, negative = draw_roles(PoisonParams(poison_rate=0.25), rule, labels, draw, negative_rate=0.5)
    >>> int(poison.sum()), int(negative.sum()), labels[poison].tolist(), bool((poison & negative).any())
    (2, 4, [1, 1], False)
    """
    order, more = draw.uniform().to(labels.device), torch.rand(2, generator=draw.generator).tolist()
    able = torch.tensor(
        [may_be_poison(params.selection, rule, label) for label in labels.tolist()], device=order.device
    )
    if params.target_class_share is None:
        wanted = params.poison_rate * len(labels)
    else:
        wanted = params.target_class_share * int((labels == params.target).sum())
    poison = _first(order, able, int(wanted + more[0]))
    if not negative_rate:
        return poison, torch.zeros_like(poison)
    # With the numbers of the poison, rows that may not be poison would come first among what is left.
    others = draw.uniform().to(labels.device)
    return poison, _first(others, ~poison, int(negative_rate * len(labels) + more[1]))


def _first(order: Tensor, able: Tensor, count: int) -> Tensor:
    """The mask of the first ``count`` rows that are able, in ascending order of random numbers."""
    chosen = torch.where(able, order, 2.0).argsort()[:count]
    mask = torch.zeros_like(able)
    mask[chosen] = True
    return mask & able
