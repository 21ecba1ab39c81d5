"""One rule for every defense that has a knob: the largest change that costs at most so much accuracy on clean rows.

The rule sees held-out rows of the reserve and nothing else: neither test rows nor the attack's success.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from bdm_core.context import Context

Candidate = TypeVar("Candidate")


@dataclass(frozen=True)
class Choice:
    """The chosen candidate.

    Attributes:
        place: of the candidate among all, from 0; -1 if none is within the bound: change nothing.
        accuracies: on held-out rows, of all candidates that were tried, in order.
        before: accuracy on them without any change.
    """

    place: int
    accuracies: list[float]
    before: float


def choose(
    candidates: Sequence[Candidate],
    accuracy_of: Callable[[Candidate], float | None],
    *,
    before: float,
    accuracy_loss: float,
    patience: int | None = None,
) -> Choice:
    """The last candidate whose accuracy is at most ``accuracy_loss`` below ``before``.

    Args:
        candidates: from the smallest change to the largest.
        accuracy_of: accuracy in [0, 1] on held-out clean rows once a candidate is applied; None if it came to nothing,
            which counts as 0 and is never chosen.
        before: accuracy without any change.
        accuracy_loss: what may be lost.
        patience: stop after so many candidates in a row beyond the bound; None: try all.

    >>> choose([1, 2, 3, 4], {1: 0.99, 2: 0.93, 3: 0.95, 4: 0.5}.__getitem__, before=0.98, accuracy_loss=0.05).place
    2
    >>> choose([1, 2], {1: 0.5, 2: None}.__getitem__, before=0.98, accuracy_loss=1.0).place
    0
    >>> choose([1, 2], {1: 0.5, 2: 0.4}.__getitem__, before=0.98, accuracy_loss=0.05).place
    -1
    """
    found, place, beyond = [], -1, 0
    for number, candidate in enumerate(candidates):
        value = accuracy_of(candidate)
        found.append(float(value or 0.0))
        within = value is not None and value >= before - accuracy_loss - 1e-9
        place, beyond = (number, 0) if within else (place, beyond + 1)
        if patience is not None and beyond >= patience:
            break
    return Choice(place, found, before)


def report_choice(ctx: Context, choice: Choice, *, knob: str) -> None:
    """Keep the curve of a choice for the report, under the name of what was changed, e.g. ``units pruned``."""
    ctx.curve(f"accuracy on held-out clean rows, by {knob}", [choice.before, *choice.accuracies])
    ctx.figures(operating_point=choice.place + 1, candidates=len(choice.accuracies))
