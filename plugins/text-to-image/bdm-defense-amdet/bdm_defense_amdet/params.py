"""Parameters of ``defense:amdet``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field, Params


class AmdetParams(Params):
    """Parameters of ``defense:amdet``."""

    reference: str = Field(
        "",
        description="A clean model with text encoders of the same shape: small-world, or a folder; empty: cannot tell.",
    )
    prompts: int = Field(
        400, ge=20, le=100_000, description="Captions of the clean data, four fifths to invert on.", calibrated=True
    )
    epochs: int = Field(2, ge=1, le=1000, description="Passes through them.", calibrated=True)
    batch_size: int = Field(10, ge=1, le=10_000, description="Captions a step.", calibrated=True)
    learning_rate: float = Field(0.08, gt=0, le=10, description="Adam's.", calibrated=True)
    weight_decay: float = Field(1e-5, ge=0, le=1, description="Adam's, added to the gradient.", calibrated=True)
    starts: int = Field(
        2,
        ge=1,
        le=100,
        description="Inversions from different draws; the one of the lowest loss counts.",
        calibrated=True,
    )
    own_weight: float = Field(
        0.1, ge=0, description="beta, of the likeness to the encoder's own output without the token.", calibrated=True
    )
    anchor_weight: float = Field(
        0.1, ge=0, description="gamma, of the likeness to the clean encoder's output with the token.", calibrated=True
    )
    grid: int = Field(
        15, ge=5, le=200, description="Points of the loss's landscape along each direction.", calibrated=True
    )
    radius: float = Field(10.0, gt=0, description="How far the landscape goes from the token.", calibrated=True)
    calibration: str = Field("", description="JSON file of `bdm calibrate amdet`; empty: the one shipped.")
    false_positive_rate: float = Field(
        0.05, gt=0, lt=0.5, description="Share of clean text encoders that the threshold may flag."
    )
    least_score: float = Field(
        2.0, ge=0, description="The threshold is never below this: every condition so many deviations above clean ones."
    )
