"""The plugin ``defense:terd``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bdm_core import Defense, hookimpl
from bdm_defense_terd.params import PAPER, TerdParams

if TYPE_CHECKING:
    from bdm_core import Context, Data, Detection, Model


class Terd(Defense):
    """Estimates the trigger from pairs of noise, decides by how far it moves the noise, and trains it away."""

    name = "terd"
    summary = "Estimate the trigger from pairs of noise, judge the model by its divergence, train the trigger away"
    tasks = frozenset({"unconditional-image-generation"})
    paper = "https://arxiv.org/abs/2409.05294"
    level = "model"
    least_clean_models = 3
    access = frozenset({"weights", "clean-data"})
    distributed = True
    Params = TerdParams
    presets = {"paper": PAPER}

    def check(self, params: TerdParams, clean_rows: int) -> None:
        """Refuse a calibration that is none."""
        from bdm_defense_terd.decision import CALIBRATED

        if params.calibration:
            CALIBRATED.read(params.calibration)

    @hookimpl
    def detect(self, ctx: Context, params: TerdParams, model: Model) -> Detection:
        from bdm_defense_terd.detection import detect

        return detect(ctx, params, model)

    @hookimpl
    def repair(self, ctx: Context, params: TerdParams, model: Model, data: Data, detection: Detection | None) -> Model:
        from bdm_defense_terd.repair import repair

        return repair(ctx, params, model, data, detection)

    def calibrate(self, ctx: Context, params: TerdParams, models: Mapping[str, Model], out: Path) -> None:
        """Write the calibration file of clean models; see :class:`bdm_core.plugin.Defense`."""
        from bdm_defense_terd.calibrate import calibrate

        calibrate(ctx, params, models, out)
