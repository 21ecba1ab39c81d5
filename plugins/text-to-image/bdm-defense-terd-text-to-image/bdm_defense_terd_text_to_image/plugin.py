"""The plugin ``defense:terd`` of the task text-to-image."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bdm_core import Defense, hookimpl
from bdm_defense_terd_text_to_image.params import TerdTextToImageParams

if TYPE_CHECKING:
    from bdm_core import Context, Data, Detection, Model


class Terd(Defense):
    """Estimates a trigger in the initial latents from pairs of noise, decides by its divergence, trains it away."""

    name = "terd"
    summary = "Estimate a trigger in the initial latents from pairs of noise, judge by its divergence, train it away"
    tasks = frozenset({"text-to-image"})
    paper = "https://arxiv.org/abs/2409.05294"
    level = "model"
    least_clean_models = 3
    access = frozenset({"weights", "clean-data"})
    distributed = True
    Params = TerdTextToImageParams
    tiny_params = {
        "starts": ["-U(0,1)"],
        "estimation_steps": 2,
        "refinement_steps": 1,
        "pairs": 1,
        "refinement_pairs": 1,
        "chain": 2,
        "evaluation_pairs": 8,
        "samples": 8,
        "steps": 2,
        "batch_size": 4,
        "trigger_batch": 2,
    }

    def check(self, params: TerdTextToImageParams, clean_rows: int) -> None:
        """Refuse a calibration that is none."""
        from bdm_defense_terd_text_to_image.detection import CALIBRATED

        if params.calibration:
            CALIBRATED.read(params.calibration)

    @hookimpl
    def detect(self, ctx: Context, params: TerdTextToImageParams, model: Model) -> Detection:
        from bdm_defense_terd_text_to_image.detection import detect

        return detect(ctx, params, model)

    @hookimpl
    def repair(
        self, ctx: Context, params: TerdTextToImageParams, model: Model, data: Data, detection: Detection | None
    ) -> Model:
        from bdm_defense_terd_text_to_image.removal import repair

        return repair(ctx, params, model, data, detection)

    def calibrate(self, ctx: Context, params: TerdTextToImageParams, models: Mapping[str, Model], out: Path) -> None:
        """Write the calibration file of clean models; see :class:`bdm_core.plugin.Defense`."""
        from bdm_defense_terd_text_to_image.detection import calibrate

        calibrate(ctx, params, models, out)
