"""The plugin ``defense:ufid``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_core.plugin import Defense, hookimpl
from bdm_defense_ufid.params import UfidParams

if TYPE_CHECKING:
    from bdm_core.artifacts import Data, Model
    from bdm_core.context import Context
    from bdm_core.records import Detection


class Ufid(Defense):
    """Perturbs every query, generates from the copies, and flags queries whose generations are all alike."""

    name = "ufid"
    summary = "Flag inputs whose perturbed copies generate the same image, by the density of their similarity graph"
    tasks = frozenset({"unconditional-image-generation"})
    paper = "https://arxiv.org/abs/2404.01101"
    level = "input"
    Params = UfidParams

    @hookimpl
    def detect(self, ctx: Context, params: UfidParams, model: Model, suspects: Data) -> Detection:
        from bdm_defense_ufid.detection import detect

        return detect(ctx, params, model, suspects)
