"""The plugin ``defense:nad``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_core import Defense, hookimpl
from bdm_defense_nad.params import NadParams
from bdm_kit_classification.defending.requirements import require_rows

if TYPE_CHECKING:
    from bdm_core import Context, Data, Model


class Nad(Defense):
    """NAD (Li et al. 2021): the model learns to attend where a copy of it does that was tuned on clean data."""

    name = "nad"
    summary = "Neural attention distillation from a teacher tuned on clean data"
    paper = "https://arxiv.org/abs/2101.05930"
    tasks = frozenset({"image-classification", "text-classification", "audio-classification"})
    level = "model"
    access = frozenset({"weights", "clean-data"})
    Params = NadParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"teacher": "fine-tune", "teacher_epochs": 10, "teacher_rate": 0.1, "epochs": 20, "learning_rate": 0.1}
        | {"warmup": 0.0, "weight_decay": 1e-4, "shift": 4, "flip": True, "strengths": [1.0]},
        "sound": {"teacher": "fine-tune", "beta": [50.0, 100.0, 100.0], "epochs": 40, "learning_rate": 0.05},
        "texts": {"teacher": "fine-tune", "teacher_epochs": 20, "teacher_rate": 0.4, "beta": [50.0, 100.0, 100.0]}
        | {"weight_decay": 1.0, "learning_rate": 0.05, "strengths": [2.0, 4.0, 8.0, 16.0]},
    }
    tiny_params: ClassVar[dict[str, Any]] = {"epochs": 1, "teacher_epochs": 1, "batch_size": 10, "learning_rate": 1e-3}
    distributed = True

    def check(self, params: NadParams, clean_rows: int) -> None:
        """Refuse too few clean rows."""
        if len(params.strengths) > 1:  # with one, nothing is held out
            require_rows(self, clean_rows)

    def check_model(self, params: NadParams, model: Model) -> None:
        """Refuse a model without feature maps."""
        from bdm_defense_nad.repair import require_layers

        require_layers(model, len(params.beta))

    @hookimpl
    def repair(self, ctx: Context, params: NadParams, model: Model, data: Data) -> Model:
        from bdm_defense_nad.repair import distil_attention

        return distil_attention(ctx, params, model, data)
