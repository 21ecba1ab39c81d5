"""Parameters of ``defense:step``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field
from bdm_kit_classification.defending.params import InputDetectorParams, ReserveParams, between


class StepParams(InputDetectorParams, ReserveParams):
    """Parameters of ``defense:step``."""

    held_out: float = Field(
        0.5,
        gt=0,
        lt=1,
        description="Share of the defender's clean rows that the one-class detectors do not see, for the threshold.",
    )
    pieces: list[int] = Field(
        [4, 8, 16],
        min_length=1,
        max_length=20,
        description="Semantic-breaking: into how many pieces a recording is cut, which are put in another order.",
    )
    orders: int = Field(2, ge=1, le=100, description="Semantic-breaking: other orders for each number of pieces.")
    breaking_noise: list[float] = Field(
        [-6.0, 0.0],
        min_length=1,
        max_length=20,
        description="Semantic-breaking: signal-to-noise ratios of white noise in dB.",
    )
    preserving_noise: list[float] = Field(
        [20.0, 30.0],
        min_length=1,
        max_length=20,
        description="Semantic-preserving: signal-to-noise ratios of white noise in dB.",
    )
    gain: float = Field(6.0, gt=0, le=40, description="Semantic-preserving: louder and softer by so many dB.")
    shift: float = Field(
        0.03, gt=0, lt=0.5, description="Semantic-preserving: earlier and later by this share of the length."
    )
    speed: float = Field(0.05, gt=0, lt=0.5, description="Semantic-preserving: faster and slower by this share.")
    pseudo_rows: float = Field(
        4.0, gt=0, le=1000, description="How many rows of a class the rate over all classes counts as."
    )
    _pieces = between("pieces", 2, 1000, ends=True)
    _breaking = between("breaking_noise", -60, 90, ends=True)
    _preserving = between("preserving_noise", -60, 90, ends=True)
