"""The plugin ``defense:tabor``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bdm_core import Defense, hookimpl
from bdm_defense_tabor.params import TaborParams
from bdm_kit_classification.defending.requirements import require_classes
from bdm_kit_classification.inversion.params import FEWEST_CLASSES

if TYPE_CHECKING:
    from bdm_core import Context, Data, Detection, Model


class Tabor(Defense):
    """Inverts a trigger for each class with regularisers of its shape, and judges by the one most like a trigger."""

    name = "tabor"
    summary = "Invert a trigger for each class with regularisers of size, smoothness and place; unlearn or prune"
    tasks = frozenset({"image-classification"})
    paper = "https://arxiv.org/abs/1908.01763"
    level = "model"
    access = frozenset({"weights", "clean-data"})
    least_clean_models = 3
    Params = TaborParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {
            "epochs": 1,
            "batch_size": 32,
            "inversion_steps": 31_000,
            "check_every": 31,
            "patience": 5,
            "success": 0.99,
            "threshold": 2.0,
            "mask_elastic": 1e-3,
            "outside_elastic": 1e-2,
            "mask_smoothness": 1e-4,
            "outside_smoothness": 1e-5,
            "blocking": 0.0,
            "overlaying": 10.0,
        }
    }
    tiny_params: ClassVar[dict[str, Any]] = {"epochs": 1, "batch_size": 10, "learning_rate": 1e-3, "inversion_steps": 8}
    distributed = True

    def check_model(self, params: TaborParams, model: Model) -> None:
        """Refuse too few classes."""
        require_classes(self, model, FEWEST_CLASSES)

    def check(self, params: TaborParams, clean_rows: int) -> None:
        """Refuse a calibration that is none."""
        from bdm_defense_tabor.method import METHOD

        if params.calibration:
            METHOD.calibrated.read(params.calibration)

    @hookimpl
    def detect(self, ctx: Context, params: TaborParams, model: Model, data: Data) -> Detection:
        from bdm_defense_tabor.method import METHOD
        from bdm_kit_classification.inversion.detection import detect

        return detect(ctx, params, model, data, METHOD)

    @hookimpl
    def repair(self, ctx: Context, params: TaborParams, model: Model, data: Data, detection: Detection | None) -> Model:
        from bdm_defense_tabor.method import METHOD
        from bdm_kit_classification.inversion.repair import repair

        return repair(ctx, params, model, data, detection, METHOD)

    def calibrate(self, ctx: Context, params: TaborParams, models: Mapping[str, Model], out: Path) -> None:
        """Write the calibration file of clean models; see :class:`bdm_core.plugin.Defense`."""
        from bdm_defense_tabor.method import METHOD
        from bdm_kit_classification.inversion.detection import calibrate

        calibrate(ctx, params, models, out, METHOD)
