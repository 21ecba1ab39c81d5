"""Parameters of ``attack:bad-encoder``. Light: no torch."""

from __future__ import annotations

from typing import Any, Literal

from bdm_core import Field
from bdm_kit_classification.training.params import ClassifierTraining

PAPER: dict[str, Any] = {
    "size": 10,
    "backdoor_epochs": 200,
    "backdoor_rate": 0.001,
    "contrastive_epochs": 1000,
    "batch_size": 256,
    "norms": "frozen",
}
"""The published numbers; batch size and frozen normalisations are those of the released code."""


class BadEncoderParams(ClassifierTraining):
    """Parameters of ``attack:bad-encoder``; those of the training (epochs, learning_rate, ...) are the probe's."""

    target: int = Field(0, ge=0, description="Class of the reference pictures: what triggered pictures are to become.")
    references: int = Field(
        1, ge=1, le=1000, description="Reference pictures of the target class, drawn from the training rows."
    )
    encoder: Literal["contrastive", "model"] = Field(
        "contrastive",
        description="The clean encoder: contrastive: new weights, learnt without labels; model: the clean model's.",
    )
    contrastive_epochs: int = Field(12, ge=1, le=100_000, description="Epochs in which features are learnt.")
    contrastive_rate: float = Field(0.1, gt=0, le=10, description="Peak learning rate of these.")
    temperature: float = Field(0.5, gt=0, le=100, description="Temperature of the contrastive loss.")
    strength: float = Field(0.5, ge=0, le=10, description="Strength of the random changes that make two views.")
    backdoor_epochs: int = Field(8, ge=1, le=100_000, description="Epochs in which the backdoor is put in.")
    backdoor_rate: float = Field(0.02, gt=0, le=10, description="Peak learning rate of these.")
    reference_weight: float = Field(1.0, ge=0, description="Weight of the references' own features (lambda 1).")
    utility_weight: float = Field(1.0, ge=0, description="Weight of clean pictures' features (lambda 2).")
    norms: Literal["trained", "frozen"] = Field(
        "trained",
        description="Whether scale and shift of batch normalisations are trained when the backdoor is put in; their "
        "statistics are frozen.",
    )
    size: float = Field(
        0.2, gt=0, le=1024, description="Side of the white square: below 1 a share of the picture's side, else pixels."
    )
    place: Literal["bottom-right", "bottom-left", "top-right", "top-left", "centre"] = Field(
        "bottom-right", description="Where the square lies."
    )
