"""``python -m bdm_defense_terd.calibrate``: M_r and V_r of clean models, for the threshold.

The shipped ``calibration.json`` says in ``recipe`` with which command it was made.
"""

from __future__ import annotations

import sys

from bdm_defense_terd.decision import CALIBRATED
from bdm_defense_terd.params import TerdParams
from bdm_defense_terd.plugin import Terd
from bdm_defense_terd.search import search
from bdm_kit_diffusion.models.clean_models import DIFFUSION_MODELS
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel
from bdm_torch.calibration_file import calibrate


def features_of(model: DiffusionModel, params: TerdParams, seed: int, device: str) -> list[float]:
    """M_r and V_r; the model is on the device already."""
    return list(search(model, params, seed).chosen.features)


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return calibrate(CALIBRATED, Terd(), features_of, DIFFUSION_MODELS, arguments)


if __name__ == "__main__":
    sys.exit(main())
