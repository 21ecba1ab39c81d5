"""Label rules on the tensors of a batch, for attacks that change samples while they train."""

from __future__ import annotations

import torch
from torch import Tensor

from bdm_kit_classification.triggers.label_rule import LabelRule


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
