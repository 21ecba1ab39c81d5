"""Removal with the estimated trigger and deviation: Elijah's loss, which TERD's authors take over."""

from __future__ import annotations

from torch import Tensor

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.records import Detection
from bdm_defense_terd.params import TerdParams
from bdm_kit_diffusion.inversion.evidence import trigger_of
from bdm_kit_diffusion.inversion.pair_search import search
from bdm_kit_diffusion.inversion.removal import remove
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel


def repair(ctx: Context, params: TerdParams, model: Model, data: Data, detection: Detection | None) -> Model:
    """Remove the backdoor that ``detection`` found; without one, estimate the trigger here first.

    Raises:
        UserError: the detection's evidence holds no trigger of this model's shape.
    """

    def find_trigger(opened: DiffusionModel) -> tuple[Tensor, Tensor | None]:
        if detection is not None:
            return trigger_of(detection, opened.shape, "terd")
        found = search(opened, params, ctx.seed, ctx.progress).chosen
        return found.trigger, found.deviation

    return remove(ctx, params, model, data, find_trigger)
