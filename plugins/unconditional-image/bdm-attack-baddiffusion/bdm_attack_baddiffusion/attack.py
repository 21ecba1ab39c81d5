"""BadDiffusion (2212.05400): train the backdoor (equation 9); the kit poisons the data (algorithm 1)."""

from __future__ import annotations

from bdm_core import Backdoored, Context, Data, Model
from bdm_diffusers.coefficients import poison_schedule
from bdm_kit_diffusion.models.diffusion_model import load_model
from bdm_kit_diffusion.noise.noise_levels import require_variance_preserving
from bdm_kit_diffusion.poison.backdoor_training import inject
from bdm_kit_diffusion.poison.secret_facts import SecretFacts
from bdm_torch.training import TrainingOptions


def backdoor(ctx: Context, model: Model, data: Data, options: TrainingOptions, facts: SecretFacts) -> Backdoored:
    """Train ||M(x_t, t) - (eps + R_t r)||^2 on x_t = a_t x_0 + s_t eps + (1 - a_t) r.

    R_t = (1 - sqrt(alpha_t)) s_t / (1 - alpha_t), which is exact for the ancestral sampler.

    Raises:
        UserError: the model is variance exploding, or of another shape than the data.
    """
    abar = require_variance_preserving(load_model(model).scheduler, "baddiffusion")
    return inject(ctx, model, data, poison_schedule(abar, "bad", "sde", "exact"), options, facts=facts)
