"""The plugin ``defense:cube``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_core import hookimpl
from bdm_defense_cube.params import CubeParams
from bdm_kit_classification.defending.row_detector import RowDetector

if TYPE_CHECKING:
    from bdm_core import Context, Data, Detection, Model


class Cube(RowDetector):
    """Clusters the features of all training rows; rows outside of the largest cluster of their class are suspected."""

    name = "cube"
    summary = "Training texts that lie in another cluster of features than most of their class"
    tasks = frozenset({"text-classification"})
    paper = "https://arxiv.org/abs/2206.08514"
    access = frozenset({"weights", "training-data"})
    Params = CubeParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": {"neighbours": 100, "smallest": 5}}
    tiny_params: ClassVar[dict[str, Any]] = {"epochs": 1, "batch_size": 10, "neighbours": 3}

    @hookimpl
    def detect(self, ctx: Context, params: CubeParams, model: Model, suspects: Data) -> Detection:
        from bdm_defense_cube.method import detect

        return detect(ctx, params, model, suspects)
