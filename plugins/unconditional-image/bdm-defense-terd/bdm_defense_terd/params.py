"""Parameters of ``defense:terd`` and ``defense:terd-input``. Light: no torch."""

from __future__ import annotations

from typing import Any, Literal

from bdm_core import Field
from bdm_kit_diffusion.inversion.pair_search_params import PairSearchParams

PAPER: dict[str, Any] = {
    "starts": ("-U(0,1)",),
    "estimation_steps": 3000,
    "refinement_steps": 1000,
    "pairs": 16,
    "refinement_pairs": 16,
    "estimation_learning_rate": 0.5,
    "deviation_learning_rate": 1e-3,
    "largest_gradient": 0.01,
    "window": 0.01,
    "steps": 430,
    "batch_size": 128,
    "learning_rate": 2e-4,
    "ema_decay": None,
    "anchors": "published",
    "trigger_batch": 128,
    "denoising_weight": 1.0,
    "trigger_weight": 1.0,
}
"""The published numbers; the removal is Elijah's."""


class TerdParams(PairSearchParams):
    """Parameters of ``defense:terd``. One configuration serves every model: nothing here depends on the attack.

    Those of the training (steps, learning_rate, ...) are the removal's.
    """

    calibration: str = Field("", description="JSON file of `bdm calibrate terd`; empty: the one shipped.")
    false_positive_rate: float = Field(
        0.01, gt=0, lt=0.5, description="Share of clean models that the threshold may flag."
    )


class TerdInputParams(TerdParams):
    """Parameters of ``defense:terd-input``: those of ``defense:terd``'s estimation, and what an input is judged by."""

    judge: Literal["estimate", "start", "mean-pixel"] = Field(
        "estimate",
        description="estimate: the likelihood under the estimated trigger; start: under the start points alone, not "
        "optimised; mean-pixel: the mean of the input's values. The last two are baselines.",
    )
