"""Parameters of ``defense:sau``. Light: no torch."""

from __future__ import annotations

from typing import Literal

from bdm_core import Field
from bdm_kit_classification.defending.tuning_params import TuningParams


class SauParams(TuningParams):
    """Parameters of ``defense:sau``; those of a training are those of the unlearning."""

    bound: float = Field(0.2, gt=0, le=1, description="Largest change of a value; samples are in [0, 1].")
    search_steps: int = Field(5, ge=1, le=1000, description="Steps of the search for adversarial examples.")
    search_size: float = Field(1.0, gt=0, le=10, description="Step of the search, as a share of the bound.")
    fool_weight: float = Field(
        0.02, ge=0, le=100, description="Weight of fooling both models in the search, the mean of their losses."
    )
    share_weight: float = Field(1.0, ge=0, le=100, description="Weight of both models agreeing in the search.")
    clean_weight: float = Field(1.0, ge=0, le=100, description="Weight of the loss of clean rows.")
    adversarial_weight: float = Field(0.0, ge=0, le=100, description="Weight of the loss of all adversarial examples.")
    shared_weight: float = Field(1.0, ge=0, le=100, description="Weight of the risk of shared adversarial examples.")
    normalisation: Literal["kept", "batch"] = Field(
        "batch",
        description="Batch normalisation of clean rows uses that of the batch and follows it, or its running "
        "statistics, which stay.",
    )
    epochs: int = Field(15, ge=1, le=100_000, description="Times that each clean row is used.")
    strengths: list[float] = Field(
        [0.5, 1.0, 2.0],
        min_length=1,
        max_length=20,
        description="Multiples of learning_rate that are tried, rising; see accuracy_loss. With one: all clean rows.",
    )
    learning_rate: float = Field(0.02, gt=0, le=10, description="Peak learning rate at strength 1.")
