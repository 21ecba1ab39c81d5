"""The plugin ``defense:dbd``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_core import Defense, hookimpl
from bdm_defense_dbd.params import DbdParams

if TYPE_CHECKING:
    from bdm_core import Context, Data, Model


class DBD(Defense):
    """Learns features without labels, trusts the rows that a last layer fits, and fine-tunes on them."""

    name = "dbd"
    summary = "Learn features without labels, keep the labels of rows that fit them, fine-tune semi-supervised"
    tasks = frozenset({"image-classification"})
    paper = "https://arxiv.org/abs/2202.03423"
    level = "model"
    access = frozenset({"training-data", "training"})
    Params = DbdParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {
            "contrastive_epochs": 1000,
            "contrastive_batch": 512,
            "contrastive_learning_rate": 0.4,
            "temperature": 0.5,
            "head_epochs": 10,
            "epochs": 190,
            "batch_size": 64,
            "optimizer": "adam",
            "learning_rate": 0.002,
            "head_learning_rate": 0.002,
            "schedule": "constant",
            "warmup": 0.0,
            "weight_decay": 1e-4,
        }
    }
    tiny_params: ClassVar[dict[str, Any]] = {
        "epochs": 1,
        "batch_size": 10,
        "head_epochs": 1,
        "contrastive_epochs": 1,
        "contrastive_batch": 10,
    }

    @hookimpl
    def repair(self, ctx: Context, params: DbdParams, model: Model, training_data: Data) -> Model:
        from bdm_defense_dbd.training import train

        return train(ctx, params, model, training_data)
