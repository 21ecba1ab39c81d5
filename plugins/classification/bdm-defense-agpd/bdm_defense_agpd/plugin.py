"""The plugin ``defense:agpd``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_core import hookimpl
from bdm_defense_agpd.params import AgpdParams
from bdm_kit_classification.defending.requirements import require_rows
from bdm_kit_classification.defending.row_detector import RowDetector

if TYPE_CHECKING:
    from bdm_core import Context, Data, Detection, Model


class Agpd(RowDetector):
    """Finds rows whose gradients by activations point elsewhere than those of clean rows of their class."""

    name = "agpd"
    summary = "Angles between activation gradients of training rows and of clean rows (AGPD)"
    paper = "https://arxiv.org/abs/2312.06230"
    Params = AgpdParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": {"rule": "class", "layer": "widest"}}
    tiny_params: ClassVar[dict[str, Any]] = {"epochs": 1, "batch_size": 10}

    def check(self, params: AgpdParams, clean_rows: int) -> None:
        """Refuse too few clean rows."""
        if params.rule == "reserve":  # the other rule holds nothing out
            require_rows(self, clean_rows)

    def check_model(self, params: AgpdParams, model: Model) -> None:
        """Refuse a model without layers to look at, or without the one that is named."""
        from bdm_defense_agpd.gradients import chosen_layers
        from bdm_kit_classification.models.classifier import load_classifier

        chosen_layers(load_classifier(model), params.layer)

    @hookimpl
    def detect(self, ctx: Context, params: AgpdParams, model: Model, data: Data, suspects: Data) -> Detection:
        from bdm_defense_agpd.detection import detect

        return detect(ctx, params, model, data, suspects)
