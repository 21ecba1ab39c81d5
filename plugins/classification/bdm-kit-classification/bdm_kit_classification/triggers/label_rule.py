"""Which label a triggered sample is to get. Light: no torch."""

from __future__ import annotations

import random
from typing import Literal

from pydantic import Field

from bdm_core.artifacts import Record
from bdm_core.errors import UserError

RuleKind = Literal["all-to-one", "all-to-all", "source-specific", "clean-label", "untargeted"]


class LabelRule(Record):
    """What the trigger does to labels.

    Attributes:
        kind: ``all-to-one``: the target, whatever the sample shows. ``all-to-all``: the next class.
            ``source-specific``: the target, for samples of the source classes only. ``clean-label``: the target, and
            training rows keep their label. ``untargeted``: any label but the true one.
        classes: how many there are.
        target: a class number; None for ``all-to-all`` and ``untargeted``.
        sources: for ``source-specific``.
        keep_labels: training rows keep their label whatever the kind; for an untargeted attack with clean labels.

    >>> rule = LabelRule(kind="all-to-all", classes=10)
    >>> rule.wanted(9), rule.eligible(3), rule.success(prediction=4, label=3)
    (0, True, True)
    >>> rule = LabelRule(kind="clean-label", classes=10, target=2)
    >>> rule.eligible(2), rule.training_label(2, random.Random(0)), rule.success(prediction=2, label=5)
    (False, 2, True)
    >>> rule.eligible(-1)
    False
    """

    kind: RuleKind
    classes: int = Field(ge=2)
    target: int | None = None
    sources: tuple[int, ...] = ()
    keep_labels: bool = False

    def wanted(self, label: int) -> int | None:
        """The class that the model is to say of a triggered sample of this label; None if any wrong one will do."""
        if self.kind == "all-to-all":
            return (label + 1) % self.classes
        return self.target

    def eligible(self, label: int) -> bool:
        """Whether a sample of this true label tells of success: the target class does not, nor do other sources, nor
        does an unknown label (-1).
        """
        if self.kind == "source-specific":
            return label in self.sources
        return label >= 0 and label != self.target

    def success(self, prediction: int, label: int) -> bool:
        """Whether a prediction for a triggered sample of this true label is what the attacker wants."""
        return prediction != label if self.kind == "untargeted" else prediction == self.wanted(label)

    def training_label(self, label: int, draw: random.Random) -> int:
        """The label of a poisoned training row: its own for ``clean-label`` and ``keep_labels``, else a random
        wrong one if untargeted."""
        if self.kind == "clean-label" or self.keep_labels:
            return label
        if self.kind == "untargeted":
            return (label + draw.randrange(1, self.classes)) % self.classes
        wanted = self.wanted(label)
        assert wanted is not None
        return wanted


def make_rule(kind: RuleKind, classes: int, target: int, sources: list[int]) -> LabelRule:
    """A checked rule.

    Args:
        kind: see :class:`LabelRule`.
        classes: of the data.
        target: used where the kind has one.
        sources: used for ``source-specific``.

    Raises:
        UserError: no such class, no sources, or the target among them.

    >>> make_rule("source-specific", 10, 0, [])
    Traceback (most recent call last):
        ...
    bdm_core.errors.UserError: label_rule source-specific needs sources: the classes that the trigger works for
    """
    aimed = kind not in ("all-to-all", "untargeted")
    if aimed and not 0 <= target < classes:
        raise UserError(f"there is no target class {target}: the data have the classes 0 to {classes - 1}")
    if kind != "source-specific":
        return LabelRule(kind=kind, classes=classes, target=target if aimed else None)
    if not sources:
        raise UserError("label_rule source-specific needs sources: the classes that the trigger works for")
    wrong = [source for source in sources if not 0 <= source < classes or source == target]
    if wrong:
        raise UserError(
            f"class {wrong[0]} cannot be a source: sources are classes of 0 to {classes - 1} but the target"
        )
    return LabelRule(kind=kind, classes=classes, target=target, sources=tuple(sorted(set(sources))))
