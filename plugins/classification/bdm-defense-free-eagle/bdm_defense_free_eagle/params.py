"""Parameters of ``defense:free-eagle``. Light: no torch."""

from __future__ import annotations

from typing import Any

from bdm_core import Field, Params

PAPER: dict[str, Any] = {"steps": 1000, "learning_rate": 0.01, "weight_decay": 0.005, "threshold": 2.0}
"""The published numbers of the optimisation; the analysis compares with no clean models."""

FEWEST_CLASSES = 5
"""With fewer classes the quartiles say nothing."""


class FreeEagleParams(Params):
    """Parameters of ``defense:free-eagle``."""

    depth: float = Field(
        0.25,
        ge=0,
        le=1,
        description="Where the network is cut, as a share of its stages; 1: only the last linear map is behind.",
        calibrated=True,
    )
    steps: int = Field(500, ge=1, le=100_000, description="Steps of the optimisation.", calibrated=True)
    learning_rate: float = Field(0.01, gt=0, le=10, description="Rate of Adam.", calibrated=True)
    weight_decay: float = Field(
        0.005, ge=0, le=10, description="Weight of the squared norm of a representation.", calibrated=True
    )
    threshold: float | None = Field(
        None,
        ge=0,
        description="A fixed threshold of the anomaly in place of the calibration's; null: the calibration's.",
    )
    calibration: str = Field("", description="JSON file of `bdm calibrate free-eagle`; empty: the one shipped.")
    false_positive_rate: float = Field(
        0.05, gt=0, lt=0.5, description="Share of clean models that a calibration's threshold may flag."
    )
