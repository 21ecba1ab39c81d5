"""M_r and V_r of clean models, for the threshold."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bdm_core.artifacts import Model
from bdm_core.context import Context
from bdm_defense_terd.decision import CALIBRATED
from bdm_defense_terd.params import TerdParams
from bdm_kit_diffusion.inversion.calibration import calibrate_on_clean
from bdm_kit_diffusion.inversion.pair_search import search
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel


def calibrate(ctx: Context, params: TerdParams, models: Mapping[str, Model], out: Path) -> None:
    """Estimate a trigger of every clean model, as ``detect`` does."""

    def features_of(own: Context, model: DiffusionModel) -> list[float]:
        return list(search(model, params, own.seed, own.progress).chosen.features)

    calibrate_on_clean(CALIBRATED, ctx, params, models, out, features_of)
