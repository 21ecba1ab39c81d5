"""The plugin ``defense:fine-pruning``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_core import Defense, hookimpl
from bdm_defense_fine_pruning.params import FinePruningParams
from bdm_kit_classification.defending.requirements import require_rows

if TYPE_CHECKING:
    from bdm_core import Context, Data, Model


class FinePruning(Defense):
    """Prunes the features that clean rows activate least, then trains the rest on clean rows."""

    name = "fine-pruning"
    summary = "Prunes the units of the last layer that clean data leave silent, then fine-tunes"
    tasks = frozenset({"image-classification", "text-classification", "audio-classification"})
    paper = "https://arxiv.org/abs/1805.12185"
    level = "model"
    access = frozenset({"weights", "clean-data"})
    Params = FinePruningParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {
            "accuracy_loss": 0.1,
            "points": 100,
            "epochs": 100,
            "batch_size": 256,
            "learning_rate": 0.01,
            "warmup": 0.0,
            "shift": 4,
            "flip": True,
        },
        "sound": {"learning_rate": 0.2},
    }
    tiny_params: ClassVar[dict[str, Any]] = {"epochs": 1, "batch_size": 10, "learning_rate": 0.001, "points": 10}

    def check(self, params: FinePruningParams, clean_rows: int) -> None:
        """Refuse too few clean rows."""
        require_rows(self, clean_rows)

    @hookimpl
    def repair(self, ctx: Context, params: FinePruningParams, model: Model, data: Data) -> Model:
        from bdm_defense_fine_pruning.pruning import prune

        return prune(ctx, params, model, data)
