"""The plugin ``defense:asset``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_core import hookimpl
from bdm_defense_asset.params import AssetParams
from bdm_kit_classification.defending.requirements import require_rows
from bdm_kit_classification.defending.row_detector import RowDetector

if TYPE_CHECKING:
    from bdm_core import Context, Data, Detection, Model


class Asset(RowDetector):
    """Trains the model to keep clean rows and to forget the training rows; only poisoned ones are forgotten."""

    name = "asset"
    summary = "Opposite training on clean rows and on all: only poisoned rows are forgotten (ASSET)"
    paper = "https://arxiv.org/abs/2302.11408"
    Params = AssetParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {
            "training": "new",
            "rule": "density",
            "concentration_steps": 100,
            "offset_steps": 196,
            "offset_batch": 256,
            "offset_learning_rate": 1e-4,
            "pool": 1,
        }
    }
    tiny_params: ClassVar[dict[str, Any]] = {
        "epochs": 1,
        "batch_size": 10,
        "offset_steps": 2,
        "concentration_steps": 2,
        "offset_batch": 8,
    }

    def check(self, params: AssetParams, clean_rows: int) -> None:
        """Refuse too few clean rows."""
        require_rows(self, clean_rows)

    @hookimpl
    def detect(self, ctx: Context, params: AssetParams, model: Model, data: Data, suspects: Data) -> Detection:
        from bdm_defense_asset.detection import detect

        return detect(ctx, params, model, data, suspects)
