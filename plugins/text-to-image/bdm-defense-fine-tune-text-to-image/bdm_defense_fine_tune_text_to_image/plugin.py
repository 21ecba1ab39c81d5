"""The plugin ``defense:fine-tune`` of the task text-to-image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_core import Defense, hookimpl
from bdm_defense_fine_tune_text_to_image.params import FineTuneParams

if TYPE_CHECKING:
    from bdm_core import Context, Data, Model


class FineTune(Defense):
    """Trains on the defender's clean captions and images: what a repair must beat to be worth its name."""

    name = "fine-tune"
    summary = "Fine-tuning on clean captioned images, with or without a teacher: the control for every repair"
    tasks = frozenset({"text-to-image"})
    level = "model"
    access = frozenset({"weights", "clean-data"})
    distributed = True
    Params = FineTuneParams
    tiny_params = {"steps": 2, "batch_size": 4}

    def check_model(self, params: FineTuneParams, model: Model) -> None:
        """Refuse a teacher that cannot be the model's base."""
        from bdm_kit_text_to_image.models.bases import require_base

        require_base(params.teacher, model)

    @hookimpl
    def repair(self, ctx: Context, params: FineTuneParams, model: Model, data: Data) -> Model:
        from bdm_defense_fine_tune_text_to_image.repair import fine_tune

        return fine_tune(ctx, params, model, data)
