"""Removal of the inverted trigger (2312.00050, eq. 8); the loss is :mod:`bdm_kit_diffusion.inversion.removal`."""

from __future__ import annotations

from torch import Tensor

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.records import Detection
from bdm_defense_elijah.params import ElijahParams
from bdm_kit_diffusion.inversion.evidence import trigger_of
from bdm_kit_diffusion.inversion.examination import examine
from bdm_kit_diffusion.inversion.removal import remove
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel


def repair(ctx: Context, params: ElijahParams, model: Model, data: Data, detection: Detection | None) -> Model:
    """Remove the backdoor that ``detection`` found; without one, invert here first.

    Raises:
        UserError: the detection's evidence holds no trigger of this model's shape.
    """

    def find_trigger(opened: DiffusionModel) -> tuple[Tensor, Tensor | None]:
        if detection is None:
            return examine(ctx, params, opened).candidate.trigger, None
        return trigger_of(detection, opened.shape, "elijah")

    return remove(ctx, params, model, data, find_trigger)
