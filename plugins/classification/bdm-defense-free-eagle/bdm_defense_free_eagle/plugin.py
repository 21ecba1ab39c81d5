"""The plugin ``defense:free-eagle``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bdm_core import Defense, hookimpl
from bdm_defense_free_eagle.params import FEWEST_CLASSES, PAPER, FreeEagleParams
from bdm_kit_classification.defending.requirements import require_classes

if TYPE_CHECKING:
    from bdm_core import Context, Detection, Model


class FreeEagle(Defense):
    """Optimises a representation inside the network for each class, and looks for a class that all others lean to."""

    name = "free-eagle"
    summary = "Judge a model without data, by representations optimised for each class"
    tasks = frozenset({"image-classification"})
    paper = "https://arxiv.org/abs/2302.14500"
    level = "model"
    access = frozenset({"weights"})
    least_clean_models = 3
    Params = FreeEagleParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": PAPER}
    tiny_params: ClassVar[dict[str, Any]] = {"steps": 3}

    def check_model(self, params: FreeEagleParams, model: Model) -> None:
        """Refuse too few classes."""
        require_classes(self, model, FEWEST_CLASSES)

    def check(self, params: FreeEagleParams, clean_rows: int) -> None:
        """Refuse a calibration that is none."""
        from bdm_defense_free_eagle.detection import CALIBRATED

        if params.calibration:
            CALIBRATED.read(params.calibration)

    @hookimpl
    def detect(self, ctx: Context, params: FreeEagleParams, model: Model) -> Detection:
        from bdm_defense_free_eagle.detection import detect

        return detect(ctx, params, model)

    def calibrate(self, ctx: Context, params: FreeEagleParams, models: Mapping[str, Model], out: Path) -> None:
        """Write the calibration file of clean models; see :class:`bdm_core.plugin.Defense`."""
        from bdm_defense_free_eagle.detection import calibrate

        calibrate(ctx, params, models, out)
