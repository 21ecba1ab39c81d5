"""The plugin ``defense:terd``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_core.plugin import Defense, hookimpl
from bdm_defense_terd.params import PAPER, TerdParams

if TYPE_CHECKING:
    from bdm_core.artifacts import Data, Model
    from bdm_core.context import Context
    from bdm_core.records import Detection


class Terd(Defense):
    """Estimates the trigger from pairs of noise, decides by how far it moves the noise, and trains it away."""

    name = "terd"
    summary = "Estimate the trigger from pairs of noise, judge the model by its divergence, train the trigger away"
    tasks = frozenset({"unconditional-image-generation"})
    paper = "https://arxiv.org/abs/2409.05294"
    level = "model"
    distributed = True
    Params = TerdParams
    presets = {"paper": PAPER}

    @hookimpl
    def detect(self, ctx: Context, params: TerdParams, model: Model) -> Detection:
        from bdm_defense_terd.detection import detect

        return detect(ctx, params, model)

    @hookimpl
    def repair(self, ctx: Context, params: TerdParams, model: Model, data: Data, detection: Detection | None) -> Model:
        from bdm_defense_terd.repair import repair

        return repair(ctx, params, model, data, detection)
