"""Parameters of ``defense:npd``. Light: no torch."""

from __future__ import annotations

from typing import Literal

from bdm_core import Field
from bdm_kit_classification.defending.tuning_params import TuningParams


class NpdParams(TuningParams):
    """Parameters of ``defense:npd``; those of a training are those of the polariser."""

    layer: str = Field(
        "",
        description="Convolution or linear layer before which the polariser sits, as named_modules has it; empty: the "
        "last convolution whose output is normalised.",
    )
    radius: float = Field(
        0.11,
        gt=0,
        le=10,
        description="Bound of each sample's change in the 2-norm, divided by the square root of the number of its "
        "values; samples are in [0, 1].",
    )
    search_steps: int = Field(5, ge=1, le=1000, description="Steps of the search for the change.")
    search_size: float = Field(0.4, gt=0, le=10, description="Step of the search, as a share of the bound.")
    targets: Literal["drawn", "second-best"] = Field(
        "drawn",
        description="The class that a sample's change aims at: any but its label, drawn at random, or the likeliest of "
        "these as in the paper.",
    )
    clean_weight: float = Field(1.0, ge=0, le=100, description="Weight of the loss of clean rows.")
    recover_weight: float = Field(0.4, ge=0, le=100, description="Weight of the loss of changed rows.")
    avoid_weight: float = Field(
        0.4, ge=0, le=100, description="Weight of -log(1 - p) of the class aimed at, for changed rows."
    )
    boost_weight: float = Field(
        0.0, ge=0, le=100, description="Weight of -log(1 - p) of the likeliest wrong class, for changed rows."
    )
    consist_weight: float = Field(
        0.1, ge=0, le=100, description="Weight of the divergence of changed rows' predictions from clean rows' ones."
    )
    epochs: int = Field(20, ge=1, le=100_000, description="Times that each clean row is used.")
    strengths: list[float] = Field(
        [1.0, 2.0, 4.0],
        min_length=1,
        max_length=20,
        description="Multiples of learning_rate that are tried, rising; see accuracy_loss. With one: all clean rows.",
    )
    learning_rate: float = Field(0.02, gt=0, le=10, description="Peak learning rate at strength 1.")
