"""The plugin ``defense:reset-to-base``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_core import Defense, hookimpl
from bdm_defense_reset_to_base.params import ResetToBaseParams

if TYPE_CHECKING:
    from bdm_core import Context, Model


class ResetToBase(Defense):
    """Gives up what a model learnt in the parts that an attack is thought to have edited."""

    name = "reset-to-base"
    summary = "Move keys and values, text encoder or UNet back to the weights of a public base"
    tasks = frozenset({"text-to-image"})
    level = "model"
    access = frozenset({"weights", "reference"})
    Params = ResetToBaseParams
    tiny_params = {"reference": "tiny"}

    def check_model(self, params: ResetToBaseParams, model: Model) -> None:
        """Refuse a reference that cannot be the model's base."""
        from bdm_kit_text_to_image.models.bases import require_base

        require_base(params.reference, model)

    @hookimpl
    def repair(self, ctx: Context, params: ResetToBaseParams, model: Model) -> Model:
        from bdm_defense_reset_to_base.repair import repair

        return repair(ctx, params, model)
