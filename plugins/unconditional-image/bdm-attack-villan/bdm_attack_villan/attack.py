"""VillanDiffusion on images: poison the data, train the backdoor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_core.artifacts import Data, Model
from bdm_core.records import Backdoored
from bdm_diffusers.coefficients import poison_schedule
from bdm_kit_diffusion.models.diffusion_model import load_model
from bdm_kit_diffusion.noise.noise_levels import noise_path
from bdm_kit_diffusion.poison.backdoor_training import inject
from bdm_kit_diffusion.poison.poisoning import Mixture, poison_by_name
from bdm_kit_diffusion.poison.secret_facts import SecretFacts

if TYPE_CHECKING:
    from bdm_attack_villan.params import VillanParams
    from bdm_core.context import Context


def poison(ctx: Context, params: VillanParams, data: Data) -> Data:
    """Pair a share of the images, with the trigger over them, with the target (2306.06874, section 4.1)."""
    mixture = Mixture(params.poison_rate, params.dataset_mode, params.clean_rate)
    return poison_by_name(
        ctx,
        data,
        params.trigger,
        params.target,
        mixture,
        scale=params.vp_scale,
        trigger_only=params.R_trigger_only,
    )


def backdoor(ctx: Context, params: VillanParams, model: Model, data: Data) -> Backdoored:
    """Train ||M(x_t, t) - (eps + R_t r)||^2 on x_t = a_t x_0 + s_t eps + rho_t r (equations 10 and 11).

    Variance preserving: rho_t = psi (1 - a_t) + (1 - psi) s_t. Variance exploding: a = 1, which leaves psi = 0 and
    rho_t = s_t, so that x_T = s_T (eps + r). R_t follows from rho and from the class of the sampler.
    """
    opened = load_model(model)
    psi = 0.0 if opened.variance_exploding else params.psi
    schedule = poison_schedule(noise_path(opened.scheduler), psi, params.solver, params.coefficients, paper="villan")
    facts = SecretFacts(
        family="villan",
        psi=psi,
        coefficients=params.coefficients,
        trigger_name=params.trigger,
        trigger_scale=params.vp_scale,
        target_name=params.target,
    )
    return inject(ctx, model, data, schedule, params.options(), facts=facts)
