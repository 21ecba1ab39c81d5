"""The plugin ``defense:nab``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_core import Defense, hookimpl
from bdm_defense_nab.params import NabParams
from bdm_kit_classification.defending.requirements import require_own_network

if TYPE_CHECKING:
    from bdm_core import Context, Data, Model


class NAB(Defense):
    """Stamps suspicious rows and relabels them, and stamps every input at inference."""

    name = "nab"
    summary = "Stamp and relabel suspicious training rows, train, and let the model stamp every input"
    tasks = frozenset({"image-classification"})
    paper = "https://arxiv.org/abs/2307.15539"
    level = "model"
    access = frozenset({"training-data", "training"})
    Params = NabParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {
            "isolation_of": "rows",
            "isolation_loss": 0.5,
            "isolation_epochs": 20,
            "looks": 0,
            "isolation_learning_rate": 0.1,
            "isolation_rate": 0.05,
            "contrastive_epochs": 1000,
            "contrastive_batch": 512,
            "epochs": 100,
            "batch_size": 64,
            "learning_rate": 0.1,
            "weight_decay": 1e-4,
            "warmup": 0.0,
            "shift": 4,
            "flip": True,
            "stamp_value": 0.45,
        }
    }
    tiny_params: ClassVar[dict[str, Any]] = {
        "epochs": 1,
        "batch_size": 10,
        "isolation_epochs": 1,
        "contrastive_epochs": 1,
        "contrastive_batch": 10,
    }

    def check_model(self, params: NabParams, model: Model) -> None:
        """Refuse a model that cannot keep the stamp."""
        require_own_network(self, model, "puts its stamp into the model")

    @hookimpl
    def repair(self, ctx: Context, params: NabParams, model: Model, training_data: Data) -> Model:
        from bdm_defense_nab.training import train

        return train(ctx, params, model, training_data)
