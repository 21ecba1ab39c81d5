"""Parameters of ``defense:dbd``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field
from bdm_kit_classification.training.params import ClassifierTraining


class DbdParams(ClassifierTraining):
    """Parameters of ``defense:dbd``; those of the training are those of the semi-supervised fine-tuning."""

    epochs: int = Field(4, ge=1, le=100_000, description="Epochs of the fine-tuning, counted on all rows.")
    learning_rate: float = Field(0.02, gt=0, le=10, description="Peak learning rate of the fine-tuning.")
    contrastive_epochs: int = Field(15, ge=1, le=100_000, description="Epochs of the self-supervised learning.")
    contrastive_batch: int = Field(128, ge=2, le=1_000_000, description="Rows a step of the self-supervised learning.")
    contrastive_learning_rate: float = Field(0.1, gt=0, le=10, description="Its peak learning rate.")
    temperature: float = Field(0.2, gt=0, le=100, description="Temperature of its loss.")
    strength: float = Field(1.0, gt=0, le=1, description="Of the random changes: 1 is that of contrastive learning.")
    head_epochs: int = Field(10, ge=1, le=100_000, description="Epochs of the last layer with symmetric cross entropy.")
    head_learning_rate: float = Field(0.1, gt=0, le=10, description="Learning rate of the last layer.")
    credible_share: float = Field(
        0.5, gt=0, lt=1, description="Share of rows that keep their label: the lowest losses."
    )
    mixture: float = Field(0.75, gt=0, le=100, description="Parameter of the beta distribution of MixUp.")
    sharpness: float = Field(0.5, gt=0, le=1, description="Temperature by which guessed labels are sharpened.")
    unlabelled_weight: float = Field(15.0, ge=0, le=1e4, description="Final weight of rows without labels.")
    mixing_strength: float = Field(
        0.3, ge=0, le=1, description="Strength of the random changes of pictures in the fine-tuning."
    )
