"""The plugin ``defense:fine-tune`` for classifiers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_core import Defense, hookimpl
from bdm_defense_fine_tune_classification.params import FineTuneParams
from bdm_kit_classification.defending.requirements import require_rows

if TYPE_CHECKING:
    from bdm_core import Context, Data, Model


class FineTune(Defense):
    """Trains on the defender's clean data and nothing else: what a repair must beat to be worth its name."""

    name = "fine-tune"
    summary = "Plain fine-tuning on clean data, the control for every repair"
    tasks = frozenset({"image-classification", "text-classification", "audio-classification"})
    level = "model"
    access = frozenset({"weights", "clean-data"})
    Params = FineTuneParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"epochs": 100, "batch_size": 256, "learning_rate": 0.01, "warmup": 0.0, "strengths": [1.0]},
        "texts": {"weight_decay": 1.0, "strengths": [2.0, 4.0, 8.0, 16.0]},
    }
    tiny_params: ClassVar[dict[str, Any]] = {"epochs": 1, "batch_size": 10, "learning_rate": 1e-3, "strengths": [1.0]}
    distributed = True

    def check(self, params: FineTuneParams, clean_rows: int) -> None:
        """Refuse too few clean rows."""
        if len(params.strengths) > 1:  # with one, nothing is held out
            require_rows(self, clean_rows)

    @hookimpl
    def repair(self, ctx: Context, params: FineTuneParams, model: Model, data: Data) -> Model:
        from bdm_defense_fine_tune_classification.repair import fine_tune

        return fine_tune(ctx, params, model, data)
