"""Parameters that defenses of classifiers share. Light: no torch."""

from __future__ import annotations

from bdm_core import Field, Params
from bdm_kit_classification.training.params import ClassifierTraining


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
