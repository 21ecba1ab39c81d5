"""The plugin ``defense:fine-tune``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_core import Defense, hookimpl
from bdm_defense_fine_tune.params import FineTuneParams

if TYPE_CHECKING:
    from bdm_core import Context, Data, Model


class FineTune(Defense):
    """Trains on the defender's clean data and nothing else: what a repair must beat to be worth its name."""

    name = "fine-tune"
    summary = "Plain fine-tuning on clean data, the control for every repair"
    tasks = frozenset({"unconditional-image-generation"})
    level = "model"
    access = frozenset({"weights", "clean-data"})
    distributed = True
    Params = FineTuneParams

    @hookimpl
    def repair(self, ctx: Context, params: FineTuneParams, model: Model, data: Data) -> Model:
        from bdm_defense_fine_tune.repair import fine_tune

        return fine_tune(ctx, params, model, data)
