"""The plugin ``defense:abl``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_core import Defense, hookimpl
from bdm_defense_abl.params import AblParams

if TYPE_CHECKING:
    from bdm_core import Context, Data, Detection, Model


class ABL(Defense):
    """Isolates the rows that are learnt first, trains on the others, and unlearns the isolated ones."""

    name = "abl"
    summary = "Isolate training rows that are learnt first, train on the others, unlearn the isolated ones"
    tasks = frozenset({"image-classification", "text-classification", "audio-classification"})
    paper = "https://arxiv.org/abs/2110.11571"
    level = "data"
    access = frozenset({"training-data", "training"})
    Params = AblParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {
            "isolation_of": "rows",
            "isolation_loss": 0.5,
            "isolation_epochs": 20,
            "looks": 0,
            "isolation_learning_rate": 0.1,
            "isolation_rate": 0.01,
            "weight_decay": 1e-4,
            "warmup": 0.0,
            "shift": 4,
            "flip": True,
            "epochs": 60,
            "learning_rate": 0.1,
            "unlearning": "isolated",
            "unlearning_epochs": 20,
            "unlearning_learning_rate": 5e-4,
            "highest_loss": 1000.0,
        }
    }
    tiny_params: ClassVar[dict[str, Any]] = {"epochs": 1, "batch_size": 10, "isolation_epochs": 1}
    distributed = True

    @hookimpl
    def detect(self, ctx: Context, params: AblParams, suspects: Data) -> Detection:
        from bdm_defense_abl.training import detect

        return detect(ctx, params, suspects)

    @hookimpl
    def repair(
        self, ctx: Context, params: AblParams, model: Model, detection: Detection | None, training_data: Data
    ) -> Model:
        from bdm_defense_abl.training import train

        return train(ctx, params, model, detection, training_data)
