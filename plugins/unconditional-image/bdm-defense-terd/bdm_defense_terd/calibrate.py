"""M_r and V_r of clean models, for the threshold."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bdm_core.artifacts import Model
from bdm_core.context import Context
from bdm_defense_terd.decision import CALIBRATED
from bdm_defense_terd.params import TerdParams
from bdm_defense_terd.search import search
from bdm_kit_diffusion.models.coverage import known_model
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel, load_model


def calibrate(ctx: Context, params: TerdParams, models: Mapping[str, Model], out: Path) -> None:
    """Estimate a trigger of every clean model, as ``detect`` does."""

    def features_of(own: Context, model: DiffusionModel) -> list[float]:
        return list(search(model, params, own.seed, own.progress).chosen.features)

    known = (known_model(name, load_model(model, ctx.device)) for name, model in models.items())
    CALIBRATED.write(ctx, params, known, out, features_of)
