"""The plugin ``defense:ufid``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_core import Defense, hookimpl
from bdm_defense_ufid.params import UfidParams

if TYPE_CHECKING:
    from bdm_core import Context, Data, Detection, Model


class Ufid(Defense):
    """Perturbs every query, generates from the copies, and flags queries whose generations are all alike."""

    name = "ufid"
    summary = "Flag inputs whose perturbed copies generate the same image, by the density of their similarity graph"
    tasks = frozenset({"unconditional-image-generation"})
    paper = "https://arxiv.org/abs/2404.01101"
    level = "input"
    access = frozenset({"predictions"})
    Params = UfidParams

    @hookimpl
    def detect(self, ctx: Context, params: UfidParams, model: Model, suspects: Data) -> Detection:
        from bdm_defense_ufid.detection import detect

        return detect(ctx, params, model, suspects)
