"""``python -m bdm_defense_elijah.calibrate``: score known models, for the threshold or for the random forest.

The shipped ``calibration.json`` says in ``recipe`` with which command it was made.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from pathlib import Path

from bdm_core.context import Context
from bdm_defense_elijah.decision import CALIBRATED
from bdm_defense_elijah.detection import examine
from bdm_defense_elijah.params import ElijahParams
from bdm_defense_elijah.plugin import Elijah
from bdm_kit_diffusion.models.clean_models import DIFFUSION_MODELS
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel
from bdm_torch.calibration_file import calibrate


def features_of(model: DiffusionModel, params: ElijahParams, seed: int, device: str) -> list[float]:
    """Examine one model as ``detect`` does: its score and log total variation."""
    with tempfile.TemporaryDirectory() as folder:
        ctx = Context(Path(folder), Path(folder), seed, device, log=logging.getLogger("bdm"))
        return examine(ctx, params, model).features


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return calibrate(CALIBRATED, Elijah(), features_of, DIFFUSION_MODELS, arguments)


if __name__ == "__main__":
    sys.exit(main())
