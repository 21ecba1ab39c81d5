"""The plugin ``defense:beatrix``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_core import hookimpl
from bdm_defense_beatrix.params import BeatrixParams
from bdm_kit_classification.defending.requirements import require_rows
from bdm_kit_classification.defending.row_detector import RowDetector
from bdm_kit_classification.tasks.text import TEXT_TASK

if TYPE_CHECKING:
    from bdm_core import Context, Data, Detection, Model


class Beatrix(RowDetector):
    """Compares the correlations of each row's feature maps with the range that clean rows of its class have."""

    name = "beatrix"
    summary = "Gram matrices of feature maps outside of the range of clean rows (Beatrix)"
    tasks = frozenset({"image-classification", "text-classification"})
    paper = "https://arxiv.org/abs/2209.11715"
    Params = BeatrixParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"rule": "class", "entries": "triangle", "orders": 8, "width": 10.0, "floor": 0.0}
    }
    tiny_params: ClassVar[dict[str, Any]] = {"epochs": 1, "batch_size": 10}

    def check(self, params: BeatrixParams, clean_rows: int) -> None:
        """Refuse too few clean rows."""
        require_rows(self, clean_rows)

    def check_model(self, params: BeatrixParams, model: Model) -> None:
        """Refuse a model of pictures without feature maps."""
        if model.task != TEXT_TASK:
            from bdm_kit_classification.models.feature_maps import require_feature_maps

            require_feature_maps(model)

    @hookimpl
    def detect(self, ctx: Context, params: BeatrixParams, model: Model, data: Data, suspects: Data) -> Detection:
        from bdm_defense_beatrix.detection import detect

        return detect(ctx, params, model, data, suspects)
