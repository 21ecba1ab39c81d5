"""The plugin ``defense:d-br``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_core import Defense, hookimpl
from bdm_defense_d_br.params import DbrParams
from bdm_kit_classification.defending.consistency_params import PUBLISHED

if TYPE_CHECKING:
    from bdm_core import Context, Data, Detection, Model


class DBR(Defense):
    """Tells rows apart by how their features change under transformations, unlearns some and relearns others."""

    name = "d-br"
    summary = "Find rows whose features change under transformations, unlearn them in the backdoored model"
    tasks = frozenset({"image-classification"})
    paper = "https://openreview.net/forum?id=AsH-Tx2U0Ug"
    level = "data"
    access = frozenset({"weights", "training-data"})
    Params = DbrParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {
            **PUBLISHED,
            "epochs": 20,
            "learning_rate": 1e-4,
            "schedule": "constant",
            "warmup": 0.0,
            "batch_size": 128,
            "shift": 4,
            "flip": True,
            "highest_loss": 1000.0,
            "max_gradient_norm": None,
        }
    }
    tiny_params: ClassVar[dict[str, Any]] = {"epochs": 1, "batch_size": 10, "warmup_epochs": 1, "compact_epochs": 1}

    @hookimpl
    def detect(self, ctx: Context, params: DbrParams, model: Model, suspects: Data) -> Detection:
        from bdm_defense_d_br.removal import detect

        return detect(ctx, params, model, suspects)

    @hookimpl
    def repair(
        self, ctx: Context, params: DbrParams, model: Model, detection: Detection | None, training_data: Data
    ) -> Model:
        from bdm_defense_d_br.removal import remove

        return remove(ctx, params, model, detection, training_data)
