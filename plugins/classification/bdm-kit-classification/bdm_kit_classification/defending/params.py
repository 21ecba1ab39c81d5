"""Parameters that defenses of classifiers share. Light: no torch."""

from __future__ import annotations

import itertools
from typing import Any

from pydantic import field_validator

from bdm_core import Field, Params
from bdm_kit_classification.training.params import ClassifierTraining


def between(field: str, low: float, high: float = float("inf"), *, ends: bool = False, rising: bool = True) -> Any:
    """The validator of a list of numbers, to be assigned in the class of the parameters.

    Args:
        field: the parameter's name.
        low: every number is above it.
        high: every number is below it.
        ends: whether both may be taken too.
        rising: whether each number is larger than the one before it.

    >>> class Mine(Params):
    ...     shares: list[float] = Field([0.1, 0.2], description="Shares.")
    ...     _shares = between("shares", 0, 1)
    >>> Mine(shares=[0.2, 0.1])
    Traceback (most recent call last):
    ...
    pydantic_core._pydantic_core.ValidationError: 1 validation error for Mine
    shares
      Value error, the numbers must rise and lie within (0, 1) ...
    """
    within = f"[{low:g}, {high:g}]" if ends else f"({low:g}, {high:g})"
    wanted = f"must rise and lie within {within}" if rising else f"must lie within {within}"

    def check(values: list[float]) -> list[float]:
        inside = all(low <= value <= high if ends else low < value < high for value in values)
        if not inside or (rising and not all(one < other for one, other in itertools.pairwise(values))):
            raise ValueError(f"the numbers {wanted}")
        return values

    return field_validator(field)(check)


class ReserveParams(Params):
    """How a defense uses the clean rows it was given."""

    held_out: float = Field(
        0.25,
        gt=0,
        lt=1,
        description="Share of the defender's clean rows that is not trained on, for selection and thresholds.",
    )


class OperatingPointParams(ReserveParams):
    """How a sweep chooses its operating point: the largest change within a loss of accuracy on held-out clean rows."""

    accuracy_loss: float = Field(
        0.05,
        ge=0,
        le=1,
        description="The accuracy on held-out clean rows may fall by so much; the largest such change is taken.",
    )


class MaskPruningParams(OperatingPointParams):
    """What is pruned by masks of units."""

    threshold: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Prune units whose mask is at most this; null: as many, in the order of their masks, as the loss "
        "of accuracy allows.",
    )
    keep_bias: bool = Field(
        False,
        description="A pruned unit keeps its shift, which masks do not multiply (the authors' code), and gives it "
        "whatever it sees; or it gives nothing.",
    )


class RowDetectorParams(ClassifierTraining):
    """Parameters of a detector of training rows: where its threshold comes from, and the training without them.

    Those of the training (epochs, learning_rate, ...) are those of the training from scratch without flagged rows.
    """

    false_positive_rate: float = Field(
        0.05,
        gt=0,
        lt=1,
        description="Share of clean rows that the threshold lets be flagged; it comes from the clean reserve.",
    )


class InputDetectorParams(Params):
    """Parameters of a detector of inputs."""

    false_positive_rate: float = Field(
        0.05,
        gt=0,
        lt=1,
        description="Share of clean inputs that the threshold lets be flagged; it comes from the clean reserve.",
    )


class PruningParams(OperatingPointParams):
    """Parameters of a pruner that prunes units whose score stands out within their layer."""

    deviations: float | None = Field(
        None,
        ge=0,
        le=100,
        description="Prune units whose score is so many standard deviations above the mean of their layer (the paper's "
        "u); null: as few as the loss of accuracy allows, from 6 down to 0.5.",
    )
