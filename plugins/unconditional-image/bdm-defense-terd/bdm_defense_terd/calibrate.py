"""``python -m bdm_defense_terd.calibrate``: M_r and V_r of clean models, for the threshold.

The shipped ``calibration.json`` says in ``recipe`` with which command it was made.
"""

from __future__ import annotations

import sys

from bdm_defense_terd.decision import CALIBRATED
from bdm_defense_terd.plugin import Terd, TerdParams
from bdm_defense_terd.search import search
from bdm_kit_diffusion.calibration_file import calibrate
from bdm_kit_diffusion.models import DiffusionModel


def features_of(model: DiffusionModel, params: TerdParams, seed: int, device: str) -> list[float]:
    """M_r and V_r; the model is on the device already."""
    return list(search(model, params, seed).chosen.features)


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return calibrate(CALIBRATED, Terd(), features_of, arguments)


if __name__ == "__main__":
    sys.exit(main())
