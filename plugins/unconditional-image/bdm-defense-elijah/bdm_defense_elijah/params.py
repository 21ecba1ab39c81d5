"""Parameters of ``defense:elijah``. Light: no torch."""

from __future__ import annotations

from typing import Literal

from bdm_core import Field
from bdm_kit_diffusion.inversion.shift_search_params import ShiftSearchParams


class ElijahParams(ShiftSearchParams):
    """Parameters of ``defense:elijah``. One configuration serves every model: nothing here depends on the attack.

    Those of the training (steps, learning_rate, ...) are the removal's.
    """

    decision: Literal["threshold", "random-forest"] = Field(
        "threshold",
        description="threshold: one class, calibrated on clean models; random-forest: needs labelled records.",
    )
    calibration: str = Field("", description="JSON file of `bdm calibrate elijah`; empty: the one shipped.")
    backdoored: tuple[str, ...] = Field(
        (),
        description="Models known to be backdoored (names or folders) that `bdm calibrate elijah` adds to the file, "
        "for the random forest.",
        stages=["calibrate"],
    )
    false_positive_rate: float = Field(
        0.01, gt=0, lt=0.5, description="Share of clean models that the threshold may flag."
    )
    least_score: float = Field(
        1.0, ge=0, description="The threshold is never below this: at 1, images must be e times more alike than usual."
    )
