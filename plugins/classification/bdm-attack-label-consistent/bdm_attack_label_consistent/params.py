"""Parameters of ``attack:label-consistent``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field
from bdm_kit_classification.poison.params import CleanLabelParams


class LabelConsistentParams(CleanLabelParams):
    """Parameters of ``attack:label-consistent``."""

    target_class_share: float | None = Field(
        0.6,
        ge=0,
        le=1,
        description="Share of the target class to poison; null: poison_rate counts, as a share of the training set.",
    )
    bound: float = Field(0.15, gt=0, le=1, description="Largest adversarial change of a pixel.")
    ascent_step: float = Field(0.015, gt=0, le=1, description="Change of a pixel in each adversarial step.")
    ascent_steps: int = Field(30, ge=1, le=10_000, description="Adversarial steps.")
    patch: float = Field(
        0.25, gt=0, le=512, description="Side of each corner patch: below 1 a share of the picture's side, else pixels."
    )
    amplitude: float = Field(1.0, gt=0, le=1, description="What a patch adds or takes; at 1 it is black and white.")
    surrogate_epochs: int = Field(8, ge=1, le=10_000, description="Epochs of the attacker's own clean classifier.")
