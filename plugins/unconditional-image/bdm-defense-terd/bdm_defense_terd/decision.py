"""The model's verdict: (M_r, V_r) against those of clean models, one class."""

from __future__ import annotations

from bdm_torch.calibration import Verdict, conformal_of_several
from bdm_torch.calibration_file import Calibrated, Calibration

CALIBRATED = Calibrated(
    "terd",
    "bdm_defense_terd",
    features=2,
)
"""The features are M_r and V_r."""


def decide(features: tuple[float, float], known: Calibration, false_positive_rate: float) -> Verdict:
    """Judge (M_r, V_r); the feature that exceeds those of the clean models by more decides."""
    return conformal_of_several(list(features), known.clean(), false_positive_rate)
