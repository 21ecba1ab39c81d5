"""The plugin ``defense:fine-tune``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_core.plugin import Field, Plugin, hookimpl
from bdm_kit_diffusion.training_params import TrainingParams

if TYPE_CHECKING:
    from bdm_core.artifacts import Data, Model
    from bdm_core.context import Context


class FineTuneParams(TrainingParams):
    """Parameters of ``defense:fine-tune``; the defaults are those of Elijah's removal."""

    steps: int = Field(150, ge=1, description="Optimiser steps.")
    batch_size: int = Field(48, ge=1, description="Clean images in a step.")
    learning_rate: float = Field(2e-4, gt=0, le=1, description="Adam's peak learning rate.")
    ema_decay: float | None = Field(
        0.98, ge=0, lt=1, description="Decay of the moving average of the weights that is kept; null: none."
    )


class FineTune(Plugin):
    """Trains on the defender's clean data and nothing else: what a repair must beat to be worth its name."""

    kind, name = "defense", "fine-tune"
    summary = "Plain fine-tuning on clean data, the control for every repair"
    tasks = frozenset({"unconditional-image-generation"})
    level = "model"
    distributed = True
    Params = FineTuneParams

    @hookimpl
    def repair(self, ctx: Context, params: FineTuneParams, model: Model, data: Data) -> Model:
        from bdm_defense_fine_tune.repair import fine_tune

        return fine_tune(ctx, params, model, data)
