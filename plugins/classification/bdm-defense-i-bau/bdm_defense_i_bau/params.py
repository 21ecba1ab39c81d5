"""Parameters of ``defense:i-bau``. Light: no torch."""

from __future__ import annotations

from typing import Literal

from bdm_core import Field
from bdm_kit_classification.defending.tuning_params import TuningParams


class IBauParams(TuningParams):
    """Parameters of ``defense:i-bau``; those of a training are those of the outer minimisation."""

    epochs: int = Field(20, ge=1, le=100_000, description="Rounds: each seeks a perturbation and uses all rows once.")
    radius: float = Field(
        0.11,
        gt=0,
        le=10,
        description="Bound of the perturbation's 2-norm, divided by the square root of the number of its values; "
        "samples are in [0, 1].",
    )
    inner_passes: int = Field(2, ge=1, le=1000, description="Passes over all rows that seek the perturbation.")
    inner_rate: float = Field(10.0, gt=0, le=1000, description="Step of the search along the gradient.")
    fixed_point_steps: int = Field(5, ge=0, le=1000, description="Steps that solve for the implicit part; 0: none.")
    fixed_point_rate: float = Field(0.1, gt=0, le=100, description="Step of the map whose fixed point is sought.")
    penalty: float = Field(1e-3, ge=0, le=100, description="Weight of the perturbation's squared norm in the search.")
    clean_weight: float = Field(1.0, ge=0, le=100, description="Weight of the loss of the same rows unperturbed.")
    normalisation: Literal["kept", "batch"] = Field(
        "kept", description="Batch normalisation uses its running statistics and keeps them, or those of the batch."
    )
    strengths: list[float] = Field(
        [1.0, 2.0],
        min_length=1,
        max_length=20,
        description="Multiples of learning_rate that are tried, rising; see accuracy_loss. With one: all clean rows.",
    )
    learning_rate: float = Field(0.06, gt=0, le=10, description="Peak learning rate at strength 1.")
    max_gradient_norm: float | None = Field(
        1.0, gt=0, description="Gradients are clipped to this norm; null: never. The implicit part can be large."
    )
