"""Parameters of ``defense:mntd``. Light: no torch."""

from __future__ import annotations

from typing import Any

from bdm_core import Field
from bdm_kit_classification.training.params import ClassifierTraining

PAPER: dict[str, Any] = {
    "clean_shadows": 2048,
    "backdoored_shadows": 2048,
    "calibration_shadows": 256,
    "queries": 10,
    "hidden": 20,
    "meta_steps": 10 * 4096,
    "meta_batch": 1,
    "meta_learning_rate": 1e-3,
    "epochs": 100,
    "batch_size": 100,
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "weight_decay": 0.0,
    "schedule": "constant",
    "warmup": 0.0,
}
"""The numbers of the authors' code for MNIST; it takes days on one core."""


class MntdParams(ClassifierTraining):
    """Parameters of ``defense:mntd``. Those of the training (epochs, learning_rate, ...) are the shadow models'."""

    epochs: int = Field(40, ge=1, le=100_000, description="Times that each clean row is used for a shadow model.")
    batch_size: int = Field(32, ge=2, le=1_000_000, description="Rows a step of a shadow model.")
    clean_shadows: int = Field(16, ge=2, le=100_000, description="Clean shadow models that the judge learns from.")
    backdoored_shadows: int = Field(
        16, ge=2, le=100_000, description="Shadow models with random backdoors that it learns from."
    )
    calibration_shadows: int = Field(
        8, ge=3, le=100_000, description="Clean shadow models that it never sees: they set the threshold."
    )
    queries: int = Field(10, ge=1, le=10_000, description="Pictures that models are asked about.")
    hidden: int = Field(20, ge=1, le=10_000, description="Hidden units of the meta classifier.")
    meta_steps: int = Field(300, ge=1, le=10_000_000, description="Steps of the meta classifier and the queries.")
    meta_batch: int = Field(8, ge=1, le=10_000, description="Shadow models a step.")
    meta_learning_rate: float = Field(0.01, gt=0, le=10, description="Rate of Adam for both.")
    meta_classifier: str = Field(
        "",
        description="Folder of the evidence of an earlier detection: its queries and meta classifier are used, and no "
        "shadow model is trained.",
    )
    false_positive_rate: float = Field(
        0.05, gt=0, lt=0.5, description="Share of clean models that the threshold may flag."
    )
