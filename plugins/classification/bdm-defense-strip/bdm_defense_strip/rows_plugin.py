"""The plugin ``defense:strip-rows``: STRIP as a detector of training rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_core import Defense, hookimpl
from bdm_defense_strip.params import PAPER, StripRowsParams
from bdm_kit_classification.defending.requirements import require_rows

if TYPE_CHECKING:
    from bdm_core import Context, Data, Detection, Model


class StripRows(Defense):
    """Blends every training row with clean samples, flags those whose predictions stay certain, and trains without."""

    name = "strip-rows"
    summary = "Flag training rows whose prediction survives superimposed clean samples, and train without them"
    tasks = frozenset({"image-classification", "text-classification", "audio-classification"})
    paper = "https://arxiv.org/abs/1902.06531"
    level = "data"
    access = frozenset({"weights", "training-data", "clean-data"})
    Params = StripRowsParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": PAPER}
    tiny_params: ClassVar[dict[str, Any]] = {"copies": 4, "epochs": 1, "batch_size": 10}
    distributed = True

    def check(self, params: StripRowsParams, clean_rows: int) -> None:
        """Refuse too few clean rows."""
        require_rows(self, clean_rows)

    @hookimpl
    def detect(self, ctx: Context, params: StripRowsParams, model: Model, data: Data, suspects: Data) -> Detection:
        from bdm_defense_strip.detection import detect_rows

        return detect_rows(ctx, params, model, data, suspects)

    @hookimpl
    def repair(
        self,
        ctx: Context,
        params: StripRowsParams,
        model: Model,
        detection: Detection | None,
        training_data: Data,
    ) -> Model:
        from bdm_kit_classification.defending.retraining import retrain_without_flagged

        return retrain_without_flagged(ctx, params, model, detection, training_data)
