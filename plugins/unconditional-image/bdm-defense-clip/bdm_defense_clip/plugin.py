"""The plugin ``defense:clip``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_core import Defense, hookimpl
from bdm_defense_clip.params import ClipParams

if TYPE_CHECKING:
    from bdm_core import Context, Model


class Clip(Defense):
    """Leaves the weights alone and clips what every step of the sampling leaves, noise included."""

    name = "clip"
    summary = "Inference-time clipping: every state of the sampling is clipped to [-1, 1]"
    tasks = frozenset({"unconditional-image-generation"})
    paper = "https://arxiv.org/abs/2212.05400"
    level = "model"
    access = frozenset({"weights"})
    Params = ClipParams

    @hookimpl
    def repair(self, ctx: Context, params: ClipParams, model: Model) -> Model:
        from bdm_defense_clip.repair import clip

        return clip(ctx, params, model)
