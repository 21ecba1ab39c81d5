"""The plugin ``defense:last-layer-scan``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bdm_core import Defense, hookimpl
from bdm_defense_last_layer_scan.params import FEWEST_CLASSES, LastLayerScanParams
from bdm_kit_classification.defending.requirements import require_classes

if TYPE_CHECKING:
    from bdm_core import Context, Detection, Model


class LastLayerScan(Defense):
    """Compares the weights of the last layer with those of clean models of the same kind; nothing is run."""

    name = "last-layer-scan"
    summary = "Judge a model by the weights of its last layer alone, against clean models of the same kind"
    tasks = frozenset({"image-classification"})
    level = "model"
    access = frozenset({"weights"})
    least_clean_models = 3
    Params = LastLayerScanParams

    def check_model(self, params: LastLayerScanParams, model: Model) -> None:
        """Refuse too few classes."""
        require_classes(self, model, FEWEST_CLASSES)

    def check(self, params: LastLayerScanParams, clean_rows: int) -> None:
        """Refuse a calibration that is none."""
        from bdm_defense_last_layer_scan.scan import CALIBRATED

        if params.calibration:
            CALIBRATED.read(params.calibration)

    @hookimpl
    def detect(self, ctx: Context, params: LastLayerScanParams, model: Model) -> Detection:
        from bdm_defense_last_layer_scan.scan import detect

        return detect(ctx, params, model)

    def calibrate(self, ctx: Context, params: LastLayerScanParams, models: Mapping[str, Model], out: Path) -> None:
        """Write the calibration file of clean models; see :class:`bdm_core.plugin.Defense`."""
        from bdm_defense_last_layer_scan.scan import calibrate

        calibrate(ctx, params, models, out)
