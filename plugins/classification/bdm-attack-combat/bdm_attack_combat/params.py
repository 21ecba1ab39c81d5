"""Parameters of ``attack:combat``. Light: no torch."""

from __future__ import annotations

from typing import Any, Literal

from bdm_core import Field
from bdm_kit_classification.poison.params import CleanLabelParams

PAPER: dict[str, Any] = {
    "target_class_share": 0.5,
    "strength": 0.04,
    "frequencies": 0.65,
    "blur": 1.0,
    "change_weight": 0.08,
    "clean_weight": 0.8,
    "joint_epochs": 200,
    "epochs": 200,
    "batch_size": 128,
    "learning_rate": 0.01,
    "generator_rate": 0.01,
    "generator_optimizer": "sgd",
}


class CombatParams(CleanLabelParams):
    """Parameters of ``attack:combat``."""

    target_class_share: float | None = Field(
        0.9, ge=0, le=1, description="Share of the target class to poison; None: as poison_rate says."
    )
    strength: float = Field(0.4, gt=0, le=1, description="What the generator's output in [-1, 1] is multiplied by.")
    frequencies: float = Field(0.65, gt=0, le=1, description="Share of the DCT's rows and columns that is kept.")
    blur: float = Field(
        0.0,
        ge=0,
        le=10,
        description="Triggered pictures are blurred by a 3x3 Gaussian whose standard deviation in pixels is drawn from "
        ".1 to this; 0: not at all.",
    )
    joint_epochs: int = Field(12, ge=1, le=100_000, description="Epochs of generator and surrogate together.")
    clean_epochs: int = Field(5, ge=1, le=100_000, description="Epochs of the clean classifier, before.")
    generator_rate: float = Field(1e-3, gt=0, le=1, description="Learning rate of the generator.")
    generator_optimizer: Literal["adam", "sgd"] = Field(
        "adam", description="Optimiser of the generator; sgd has the momentum and weight_decay of the other trainings."
    )
    clean_weight: float = Field(
        3.0, ge=0, description="Weight of the term that keeps a clean classifier right on triggered pictures."
    )
    frequency_weight: float = Field(0.2, ge=0, description="Weight of the term against the frequency detector.")
    change_weight: float = Field(0.0, ge=0, description="Weight of the mean squared change of a pixel, in [0, 1].")
    detector_steps: int = Field(150, ge=1, le=1_000_000, description="Steps of the frequency detector, before.")
    width: int = Field(16, ge=1, le=1024, description="Channels of the generator at full size.")
