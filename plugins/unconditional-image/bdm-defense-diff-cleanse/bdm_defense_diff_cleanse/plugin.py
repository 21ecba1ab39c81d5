"""The plugin ``defense:diff-cleanse``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bdm_core import Defense, hookimpl
from bdm_defense_diff_cleanse.params import DiffCleanseParams

if TYPE_CHECKING:
    from bdm_core import Context, Data, Detection, Model


class DiffCleanse(Defense):
    """Inverts a trigger from samples alone, judges by their largest clique, prunes what the trigger uses."""

    name = "diff-cleanse"
    summary = "Invert a trigger from samples alone, judge by their similarity, prune and fine-tune (Diff-Cleanse)"
    tasks = frozenset({"unconditional-image-generation"})
    paper = "https://arxiv.org/abs/2407.21316"
    level = "model"
    least_clean_models = 3
    access = frozenset({"weights", "clean-data"})
    distributed = True
    Params = DiffCleanseParams
    presets: dict[str, dict[str, Any]] = {
        "paper": {
            "starts": "published",
            "samplers": ("unipc",),
            "epochs": (100,),
            "candidates": 1,
            "similarity": 0.999,
            "reach": 1.0,
            "pruning_rule": "sum",
            "pruned_share": 0.01,
            "steps": 1600,
            "batch_size": 128,
            "learning_rate": 1e-4,
            "learning_rate_schedule": "constant",
            "warmup_steps": 0,
            "ema_decay": 0.9999,
        },
    }

    def check(self, params: DiffCleanseParams, clean_rows: int) -> None:
        """Refuse a calibration that is none."""
        from bdm_defense_diff_cleanse.detection import CALIBRATED

        if params.calibration:
            CALIBRATED.read(params.calibration)

    @hookimpl
    def detect(self, ctx: Context, params: DiffCleanseParams, model: Model) -> Detection:
        from bdm_defense_diff_cleanse.detection import detect

        return detect(ctx, params, model)

    @hookimpl
    def repair(
        self, ctx: Context, params: DiffCleanseParams, model: Model, data: Data, detection: Detection | None
    ) -> Model:
        from bdm_defense_diff_cleanse.repair import repair

        return repair(ctx, params, model, data, detection)

    def calibrate(self, ctx: Context, params: DiffCleanseParams, models: Mapping[str, Model], out: Path) -> None:
        """Write the calibration file of clean models; see :class:`bdm_core.plugin.Defense`."""
        from bdm_defense_diff_cleanse.calibrate import calibrate

        calibrate(ctx, params, models, out)
