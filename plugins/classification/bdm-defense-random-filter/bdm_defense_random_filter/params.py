"""Parameters of ``defense:random-filter``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field
from bdm_kit_classification.training.params import ClassifierTraining


class RandomFilterParams(ClassifierTraining):
    """Parameters of ``defense:random-filter``; those of the training are those of the training without flagged rows."""

    share: float = Field(0.075, gt=0, lt=1, description="Share of the training rows to flag, at random.")
