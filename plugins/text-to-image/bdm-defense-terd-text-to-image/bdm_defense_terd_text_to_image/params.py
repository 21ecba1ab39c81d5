"""Parameters of ``defense:terd`` of the task text-to-image. Light: no torch."""

from __future__ import annotations

from bdm_core import Field
from bdm_kit_diffusion.inversion.pair_search_params import PairSearchParams


class TerdTextToImageParams(PairSearchParams):
    """Parameters of ``defense:terd`` of the task text-to-image.

    Those of the training (steps, learning_rate, ...) are the removal's.
    """

    prompt: str = Field(
        "",
        description="Under which the UNet is examined; the empty one is a condition of its training.",
        calibrated=True,
    )
    calibration: str = Field("", description="JSON file of `bdm calibrate terd`; empty: the one shipped.")
    false_positive_rate: float = Field(
        0.01, gt=0, lt=0.5, description="Share of clean models that the threshold may flag."
    )
