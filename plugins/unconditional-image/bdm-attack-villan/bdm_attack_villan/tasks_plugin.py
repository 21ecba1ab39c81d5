"""The plugin ``metric:villan-tasks``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_attack_villan.params import VillanTasksParams
from bdm_core.plugin import Metric, hookimpl

if TYPE_CHECKING:
    from bdm_core.context import Context
    from bdm_core.records import Measurement, Subject


class VillanTasks(Metric):
    """Restores damaged images with and without the trigger, by running the chain from them (VillanDiffusion)."""

    name = "villan-tasks"
    summary = "Denoising and inpainting from damaged images, with the trigger and without (VillanDiffusion)"
    tasks = frozenset({"unconditional-image-generation"})
    paper = "https://arxiv.org/abs/2306.06874"
    Params = VillanTasksParams

    @hookimpl
    def score(self, ctx: Context, params: VillanTasksParams, subject: Subject) -> list[Measurement]:
        from bdm_attack_villan.tasks import measure

        return measure(ctx, params, subject)
