"""The plugin ``defense:spectre``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_core import hookimpl
from bdm_defense_spectre.params import SpectreParams
from bdm_kit_classification.defending.requirements import require_rows
from bdm_kit_classification.defending.row_detector import RowDetector

if TYPE_CHECKING:
    from bdm_core import Context, Data, Detection, Model


class Spectre(RowDetector):
    """Whitens the features of each class by a covariance that poison does not reach, and scores what is left over."""

    name = "spectre"
    summary = "Whitening by a robust covariance and the quantum entropy score in each class (SPECTRE)"
    tasks = frozenset({"image-classification", "text-classification"})
    paper = "https://arxiv.org/abs/2104.11315"
    Params = SpectreParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"covariance": "filter", "rule": "share", "chosen_by": "clean-rows", "compared": "common-space"}
    }
    tiny_params: ClassVar[dict[str, Any]] = {"epochs": 1, "batch_size": 10, "most_components": 2}

    def check(self, params: SpectreParams, clean_rows: int) -> None:
        """Refuse too few clean rows."""
        require_rows(self, clean_rows)

    @hookimpl
    def detect(self, ctx: Context, params: SpectreParams, model: Model, data: Data, suspects: Data) -> Detection:
        from bdm_defense_spectre.detection import detect

        return detect(ctx, params, model, data, suspects)
