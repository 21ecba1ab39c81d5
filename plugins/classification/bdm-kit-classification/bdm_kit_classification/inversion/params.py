"""Parameters of trigger inversion and of what follows it. Light: no torch."""

from __future__ import annotations

from typing import Literal

from bdm_core import Field
from bdm_kit_classification.defending.params import OperatingPointParams
from bdm_kit_classification.training.params import ClassifierTraining

FEWEST_CLASSES = 3
"""With two classes none stands out from the others."""


class InversionParams(OperatingPointParams, ClassifierTraining):
    """How triggers are inverted, when a model counts as backdoored, and how it is repaired.

    Those of the training (epochs, learning_rate, ...) are those of the repair.
    """

    epochs: int = Field(10, ge=1, le=100_000, description="Times that each clean row is used by the repair.")
    learning_rate: float = Field(0.01, gt=0, le=10, description="Peak learning rate of the repair.")
    inversion_steps: int = Field(
        200, ge=1, le=1_000_000, calibrated=True, description="Steps of the search for the trigger of each class."
    )
    inversion_batch: int = Field(32, ge=1, le=100_000, calibrated=True, description="Clean rows a step of the search.")
    inversion_rate: float = Field(0.1, gt=0, le=10, calibrated=True, description="Learning rate of the search (Adam).")
    check_every: int = Field(
        5, ge=1, le=100_000, calibrated=True, description="Steps between two looks at success and size of a trigger."
    )
    patience: int = Field(
        2,
        ge=1,
        le=1000,
        calibrated=True,
        description="Looks in a row that say enough, or too little, success before the weight of size changes.",
    )
    success: float = Field(
        0.98, gt=0, le=1, calibrated=True, description="Share of rows that a trigger must send to its class."
    )
    size_weight: float = Field(
        1e-3, gt=0, le=1000, calibrated=True, description="Initial weight of a trigger's size; it adapts itself."
    )
    threshold: float = Field(
        2.0, gt=0, le=100, description="Anomaly index above which a class is a target; 2 is the paper's."
    )
    calibration: str = Field(
        "",
        description="A file of `bdm calibrate` with clean models: the p-value comes from it, and so does the threshold "
        "where it is above the index of the paper; empty: no p-value.",
    )
    false_positive_rate: float = Field(
        0.05, gt=0, lt=1, description="Share of clean models that a calibrated threshold lets be called backdoored."
    )
    repair: Literal["unlearn", "prune"] = Field(
        "unlearn",
        description="unlearn: train on clean rows, some of them stamped, with true labels; prune: silence the last "
        "features that the trigger excites most.",
    )
    stamped: float = Field(0.2, ge=0, le=1, description="Share of the rows of unlearning that carry the trigger.")
