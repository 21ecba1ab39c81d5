"""The plugin ``defense:amdet``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bdm_core import Defense, hookimpl
from bdm_defense_amdet.params import AmdetParams

if TYPE_CHECKING:
    from bdm_core import Context, Data, Detection, Model


class Amdet(Defense):
    """Looks for a pseudo token that makes a text encoder say one thing whatever the caption."""

    name = "amdet"
    summary = "Invert a pseudo token that makes all captions mean one thing to the text encoder; four conditions on it"
    tasks = frozenset({"text-to-image"})
    paper = "https://arxiv.org/abs/2512.00343"
    level = "model"
    least_clean_models = 3
    access = frozenset({"weights", "clean-data", "reference"})
    Params = AmdetParams
    tiny_params = {"reference": "tiny", "prompts": 20, "epochs": 1, "starts": 1, "grid": 5}

    def check(self, params: AmdetParams, clean_rows: int) -> None:
        """Refuse a calibration that is none."""
        from bdm_defense_amdet.detection import CALIBRATED

        if params.calibration:
            CALIBRATED.read(params.calibration)

    def check_model(self, params: AmdetParams, model: Model) -> None:
        """Refuse a reference that cannot be the model's base."""
        from bdm_kit_text_to_image.models.bases import require_base

        require_base(params.reference, model)

    @hookimpl
    def detect(self, ctx: Context, params: AmdetParams, model: Model, data: Data) -> Detection:
        from bdm_defense_amdet.detection import detect

        return detect(ctx, params, model, data)

    def calibrate(self, ctx: Context, params: AmdetParams, models: Mapping[str, Model], out: Path) -> None:
        """Write the calibration file of clean models; see :class:`bdm_core.plugin.Defense`."""
        from bdm_defense_amdet.detection import calibrate

        calibrate(ctx, params, models, out)
