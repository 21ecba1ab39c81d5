"""Parameters of ``attack:sig``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field
from bdm_kit_classification.poison.params import CleanLabelParams


class SIGParams(CleanLabelParams):
    """Parameters of ``attack:sig``."""

    target_class_share: float | None = Field(
        0.9,
        ge=0,
        le=1,
        description="Share of the target class to poison; null: poison_rate counts, as a share of the training set.",
    )
    train_amplitude: float = Field(0.3, gt=0, le=1, description="Height of the sinusoid in training pictures, of 1.")
    test_amplitude: float = Field(0.4, gt=0, le=1, description="Its height in triggered test pictures.")
    frequency: float = Field(6.0, gt=0, le=512, description="Periods of the sinusoid across a picture.")
