"""The plugin ``defense:d-st``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_core import Defense, hookimpl
from bdm_defense_d_st.params import DstParams
from bdm_kit_classification.defending.consistency_params import PUBLISHED

if TYPE_CHECKING:
    from bdm_core import Context, Data, Model


class DST(Defense):
    """Trains from scratch on features that were learnt without the labels of suspicious rows."""

    name = "d-st"
    summary = "Train from scratch: contrastive learning without the labels of suspicious rows, then the last layer"
    tasks = frozenset({"image-classification"})
    paper = "https://openreview.net/forum?id=AsH-Tx2U0Ug"
    level = "model"
    access = frozenset({"training-data", "training"})
    Params = DstParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {
            **PUBLISHED,
            "epochs": 200,
            "batch_size": 512,
            "learning_rate": 0.5,
            "temperature": 0.1,
            "head_epochs": 10,
            "head_learning_rate": 5.0,
            "weight_decay": 1e-4,
            "poisoned_weight": 1e-3,
            "highest_loss": 1000.0,
        }
    }
    tiny_params: ClassVar[dict[str, Any]] = {
        "epochs": 1,
        "batch_size": 10,
        "head_epochs": 1,
        "warmup_epochs": 1,
        "compact_epochs": 1,
    }

    @hookimpl
    def repair(self, ctx: Context, params: DstParams, model: Model, training_data: Data) -> Model:
        from bdm_defense_d_st.training import train

        return train(ctx, params, model, training_data)
