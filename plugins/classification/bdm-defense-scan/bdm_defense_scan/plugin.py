"""The plugin ``defense:scan``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_core import hookimpl
from bdm_defense_scan.params import ScanParams
from bdm_kit_classification.defending.requirements import require_rows
from bdm_kit_classification.defending.row_detector import RowDetector

if TYPE_CHECKING:
    from bdm_core import Context, Data, Detection, Model


class Scan(RowDetector):
    """Finds classes that are a mixture of two, given how features vary within a class, and the rows of the second."""

    name = "scan"
    summary = "Two-component untangling of each class, given how features vary within classes (SCAn)"
    tasks = frozenset({"image-classification", "text-classification"})
    paper = "https://arxiv.org/abs/1908.00686"
    Params = ScanParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": {"rule": "class"}}
    tiny_params: ClassVar[dict[str, Any]] = {"epochs": 1, "batch_size": 10}

    def check(self, params: ScanParams, clean_rows: int) -> None:
        """Refuse too few clean rows."""
        require_rows(self, clean_rows)

    @hookimpl
    def detect(self, ctx: Context, params: ScanParams, model: Model, data: Data, suspects: Data) -> Detection:
        from bdm_defense_scan.detection import detect

        return detect(ctx, params, model, data, suspects)
