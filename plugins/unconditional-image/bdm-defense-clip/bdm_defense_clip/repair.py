"""Inference-time clipping (BadDiffusion, 2212.05400, section 5.5): x_{t-1} is clipped to [-1, 1] after each step.

A triggered x_T = eps + r is clipped like any other, so that most of the trigger is lost after the first step.
"""

from __future__ import annotations

from bdm_core.artifacts import Model
from bdm_core.context import Context
from bdm_defense_clip.params import ClipParams
from bdm_kit_diffusion.models.diffusion_model import load_model, seal_model
from bdm_kit_diffusion.noise.noise_levels import require_variance_preserving


def clip(ctx: Context, params: ClipParams, model: Model) -> Model:
    """The same weights, with ``clip_states`` in the scheduler's configuration; sealed in ``ctx.out / "model"``.

    Raises:
        UserError: the model is variance exploding: its states are far outside [-1, 1] by design.
    """
    opened = load_model(model)
    require_variance_preserving(opened.scheduler, "clip")
    ctx.figures(clean_samples=0, network_evaluations=0)
    opened.scheduler.register_to_config(clip_states=params.limit)
    return seal_model(opened, ctx.out / "model")
