"""From a repaired model and the undefended one to measurements."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from bdm_core.records import Measurement, Subject
from bdm_kit_text_to_image.models.text_to_image_model import load_model


@dataclass(frozen=True)
class Change:
    """What changed of some weights.

    Attributes:
        count: how many numbers there were.
        changed: how many of them are another one now; those of a tensor that is gone or of another shape all count.
        gap: sum of the squared differences, of tensors that are there and of the same shape.
        size: sum of the squares of what there was.
        added: numbers in tensors that were not there, or had another shape.
    """

    count: int = 0
    changed: int = 0
    gap: float = 0.0
    size: float = 0.0
    added: int = 0

    def __add__(self, other: Change) -> Change:
        return Change(
            self.count + other.count,
            self.changed + other.changed,
            self.gap + other.gap,
            self.size + other.size,
            self.added + other.added,
        )

    @property
    def share(self) -> float | None:
        """Share of the numbers that changed."""
        return self.changed / self.count if self.count else None

    @property
    def relative(self) -> float | None:
        """Frobenius norm of the change relative to that of the weights; None if a tensor has no counterpart."""
        return math.sqrt(self.gap / self.size) if self.size and not self.added else None


def change_of(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> Change:
    """What changed between two sets of named tensors.

    >>> import torch
    >>> found = change_of({"w": torch.tensor([3.0, 4.0])}, {"w": torch.tensor([3.0, 4.5])})
    >>> found.share, found.relative
    (0.5, 0.1)
    """
    total = Change()
    for name, old in before.items():
        new = after.get(name)
        size = float(old.double().square().sum())
        if new is None or new.shape != old.shape:
            total += Change(old.numel(), old.numel(), 0.0, size, 0 if new is None else new.numel())
            continue
        gap = (new.double() - old.double()).square()
        total += Change(old.numel(), int((gap != 0).sum()), float(gap.sum()), size)
    return total + Change(added=sum(value.numel() for name, value in after.items() if name not in before))


def measure(subject: Subject) -> list[Measurement]:
    """The change of the whole pipeline and of each network against the undefended model; nothing in other rows."""
    if subject.role != "repaired" or subject.undefended is None:
        return []
    before, after = load_model(subject.undefended).networks, load_model(subject.model).networks
    changes = {name: change_of(network.state_dict(), after[name].state_dict()) for name, network in before.items()}
    found = _measurements(sum(changes.values(), Change()), "")
    return found + [item for name, change in changes.items() for item in _measurements(change, name)]


def _measurements(change: Change, network: str) -> list[Measurement]:
    ending, of = (f"_{network}", f" of the {network}") if network else ("", " of the pipeline")
    told = (
        ("changed_parameters", "parameters changed", change.share, f"Share of the numbers{of} that the repair changed"),
        (
            "relative_change",
            "relative change",
            change.relative,
            f"Frobenius norm of what the repair changed{of}, relative to that of the undefended weights, 0 or more",
        ),
    )
    return [
        Measurement(
            metric=f"{name}{ending}",
            value=value,
            higher_is_better=False,
            n=change.count,
            label=f"{label}{f', {network}' if network else ''}",
            description=f"{text}.",
            share=name == "changed_parameters",
        )
        for name, label, value, text in told
    ]
