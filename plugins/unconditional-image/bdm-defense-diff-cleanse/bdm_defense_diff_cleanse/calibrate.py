"""The MSCR of clean models, for the threshold."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bdm_core.artifacts import Model
from bdm_core.context import Context
from bdm_defense_diff_cleanse.detection import CALIBRATED
from bdm_defense_diff_cleanse.params import DiffCleanseParams
from bdm_defense_diff_cleanse.search import search
from bdm_kit_diffusion.inversion.calibration import calibrate_on_clean
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel


def calibrate(ctx: Context, params: DiffCleanseParams, models: Mapping[str, Model], out: Path) -> None:
    """Invert a pattern of every clean model, as ``detect`` does."""

    def features_of(own: Context, model: DiffusionModel) -> list[float]:
        return [search(model, params, own.seed, own.device, own.progress).best.score]

    calibrate_on_clean(CALIBRATED, ctx, params, models, out, features_of)
