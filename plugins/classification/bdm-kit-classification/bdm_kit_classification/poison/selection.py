"""Which training rows are poisoned, which are covers, which are negatives. Light: no torch."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from bdm_core.errors import UserError
from bdm_kit_classification.poison.params import PoisonParams
from bdm_kit_classification.triggers.label_rule import LabelRule


@dataclass(frozen=True)
class Plan:
    """Training rows by role, disjoint and each in ascending order; all others are clean.

    Attributes:
        poison: trigger, and the label of the rule.
        cover: trigger, true label.
        negative: another trigger, true label.
    """

    poison: list[int]
    cover: list[int]
    negative: list[int]

    @property
    def rows(self) -> list[int]:
        """All that the attack changes, in ascending order."""
        return sorted([*self.poison, *self.cover, *self.negative])


def plan_rows(
    labels: Sequence[int],
    rule: LabelRule,
    params: PoisonParams,
    seed: int,
    *,
    cover_rate: float = 0.0,
    negative_rate: float = 0.0,
    control: bool = False,
) -> Plan:
    """Draw the rows.

    Args:
        labels: of the training rows.
        rule: decides with ``params.selection`` which rows may be poisoned.
        params: ``poison_rate`` or ``target_class_share``, and ``selection``.
        seed: of the stage. More poison with the same seed has the same rows and further ones.
        cover_rate, negative_rate: shares of the training set; of rows that are left, of any class.
        control: whether a rate of just 0 is taken, which poisons nothing.

    Raises:
        UserError: there are not so many rows, or the rate asks for less than half of one.

    >>> rule = LabelRule(kind="all-to-one", classes=2, target=0)
    >>> plan = plan_rows([0, 1] * 20, rule, PoisonParams(poison_rate=0.1), seed=0, cover_rate=0.05)
    >>> len(plan.poison), len(plan.cover), {row % 2 for row in plan.poison}
    (4, 2, {1})
    """
    chosen = _selection(rule, params.selection)
    able = [row for row, label in enumerate(labels) if may_be_poison(chosen, rule, label)]
    name, rate, size = "poison_rate", params.poison_rate, len(labels)
    if params.target_class_share is not None:
        name, rate = "target_class_share", params.target_class_share
        size = sum(label == params.target for label in labels)
    count, asked = round(rate * size), f"{name} {rate:g}"
    if not (count or (control and rate == 0)):
        raise UserError(f"{asked} of {size} rows is no row: raise it")
    if not able:
        raise UserError(f"no training row may be poisoned: selection {chosen} leaves none; choose another, or sources")
    if count > len(able):
        what = {"any": "at all", "not-target": "of other classes than the target"}.get(chosen, f"of the {chosen} class")
        raise UserError(f"{asked} asks for {count} rows, there are {len(able)} {what}: lower it")
    draw = random.Random(f"rows/{seed}")
    draw.shuffle(able)
    poison = able[:count]
    left = sorted(set(range(len(labels))) - set(poison))
    draw = random.Random(f"others/{seed}")
    draw.shuffle(left)
    covers, negatives = round(cover_rate * len(labels)), round(negative_rate * len(labels))
    if covers + negatives > len(left):
        raise UserError(f"{covers} covers and {negatives} negatives are more than the {len(left)} rows that are left")
    return Plan(sorted(poison), sorted(left[:covers]), sorted(left[covers : covers + negatives]))


def _selection(rule: LabelRule, selection: str) -> str:
    if selection != "auto":
        return selection
    return {"all-to-one": "not-target", "source-specific": "sources", "clean-label": "target"}.get(rule.kind, "any")


def may_be_poison(selection: str, rule: LabelRule, label: int) -> bool:
    """Whether a row with this label may be poisoned, under ``PoisonParams.selection``."""
    chosen = _selection(rule, selection)
    if chosen == "not-target":
        return label != rule.target
    if chosen == "target":
        return label == rule.target
    return label in rule.sources if chosen == "sources" else True
