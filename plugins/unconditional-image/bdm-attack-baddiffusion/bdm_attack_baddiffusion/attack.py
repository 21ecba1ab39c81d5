"""BadDiffusion: poison the data (algorithm 1), train the backdoor (equation 9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_core.artifacts import Data, Model
from bdm_core.records import Backdoored
from bdm_diffusers.coefficients import poison_schedule
from bdm_kit_diffusion.models.diffusion_model import load_model
from bdm_kit_diffusion.noise.noise_levels import require_variance_preserving
from bdm_kit_diffusion.poison.backdoor_training import inject
from bdm_kit_diffusion.poison.poisoning import poison_by_name

if TYPE_CHECKING:
    from bdm_attack_baddiffusion.params import BadDiffusionParams
    from bdm_core.context import Context


def poison(ctx: Context, params: BadDiffusionParams, data: Data) -> Data:
    """Replace a share of the images by pairs of trigger, pasted over the image, and target."""
    return poison_by_name(
        ctx,
        data,
        trigger=params.trigger,
        target=params.target,
        poison_rate=params.poison_rate,
        scale=params.trigger_scale,
    )


def backdoor(ctx: Context, params: BadDiffusionParams, model: Model, data: Data) -> Backdoored:
    """Train ||M(x_t, t) - (eps + R_t r)||^2 on x_t = a_t x_0 + s_t eps + (1 - a_t) r.

    R_t = (1 - sqrt(alpha_t)) s_t / (1 - alpha_t), which is exact for the ancestral sampler.
    """
    abar = require_variance_preserving(load_model(model).scheduler, "baddiffusion")
    schedule = poison_schedule(abar, "bad", "sde", "exact")
    meta = {"family": "baddiffusion", "psi": 1.0, "trigger_name": params.trigger, "target_name": params.target}
    return inject(ctx, model, data, schedule, params.options(), meta=meta)
