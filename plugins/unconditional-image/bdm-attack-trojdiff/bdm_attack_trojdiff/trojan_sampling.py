"""The trojan sampler, DDPM and DDIM form (TrojDiff, 2303.05762, sections 4.3 and 4.4).

With x~_t = x_t - s_t mu a trojan chain is a benign one whose noise is multiplied by gamma: a step t -> u is

    x_0^  = (x~_t - s_t gamma M(x_t, t)) / a_t
    x~_u  = a_u x_0^ + sqrt(s_u^2 - v^2) gamma M(x_t, t) + v gamma z,

with v as in DDIM (Song et al., 2010.02502, eq. 16); eta = 1 with u = t - 1 is the DDPM form.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bdm_core.artifacts import Data, Model, Outputs, Secret
from bdm_core.errors import UserError
from bdm_diffusers.samplers import check_steps
from bdm_diffusers.sampling import SamplingOptions, image_generators, require_finite_samples
from bdm_kit_diffusion import TASK
from bdm_kit_diffusion.models.diffusion_model import load_model
from bdm_kit_diffusion.noise.initial_noise import load_noise
from bdm_kit_diffusion.poison.secret import open_secret
from bdm_kit_diffusion.stages import chosen_sampling, kit_params
from bdm_torch.image_sets import seal_images

if TYPE_CHECKING:
    from bdm_core.context import Context


@dataclass(frozen=True, eq=False)
class TrojanNoise:
    """N(mean, deviation^2), each (C, H, W): the noise that sets the backdoor off, mu and gamma."""

    mean: Tensor
    deviation: Tensor


def trojan_sample(
    ctx: Context,
    model: Callable[..., Any],
    scheduler: Any,
    initial_noise: Tensor,
    trojan: TrojanNoise,
    steps: int,
    options: SamplingOptions,
) -> Tensor:
    """Run the trojan reverse process; float32 (N, C, H, W) on the device of ``initial_noise``, without gradient.

    Args:
        ctx: its seed decides the noise, drawn for each image from its own generator, so that batches do not matter;
            it is told the progress.
        model: (x, t) -> noise prediction, a tensor or an object with it as ``.sample``.
        scheduler: a ``DDPMScheduler`` or ``DDIMScheduler``, for its noise schedule and timesteps.
        initial_noise: (N, C, H, W): gamma eps + mu.
        trojan: mu and gamma.
        steps: sampling steps.
        options: batch size; eta of the DDIM form, 0 to 1 (the DDPM form has 1); clip_sample: clip x_0^ to [-1, 1], as
            the authors' DDPM form does.

    Raises:
        UserError: another scheduler, or impossible steps.
        ArtifactError: the samples are not finite.
    """
    ancestral = type(scheduler).__name__ == "DDPMScheduler"
    if not ancestral and type(scheduler).__name__ != "DDIMScheduler":
        raise UserError(
            f"TrojDiff's sampler has a ddpm and a ddim form, not {type(scheduler).__name__}: choose one of "
            "them, or variant=agnostic"
        )
    check_steps(scheduler, steps)
    scheduler.set_timesteps(steps)
    timesteps = [int(t) for t in scheduler.timesteps]
    abar = torch.cat([scheduler.alphas_cumprod.double(), torch.ones(1, dtype=torch.float64)])  # abar[-1]: the image
    a, s = abar.sqrt(), (1 - abar).sqrt()
    large = ancestral and scheduler.config.variance_type == "fixed_large"
    mean, deviation = trojan.mean.to(initial_noise), trojan.deviation.to(initial_noise)
    batches = -(-len(initial_noise) // options.batch_size)
    images, done = [], 0
    with torch.inference_mode():
        for start in range(0, len(initial_noise), options.batch_size):
            x = initial_noise[start : start + options.batch_size].float()
            generators = image_generators(ctx.seed, len(x), first_index=start)
            for t, u in zip(timesteps, [*timesteps[1:], -1], strict=True):
                output = model(x, torch.tensor(t, device=x.device))
                noise = deviation * (output if isinstance(output, Tensor) else output.sample)
                estimate = (x - float(s[t]) * (mean + noise)) / float(a[t])
                if options.clip_sample:
                    estimate = estimate.clamp(-1, 1)
                if options.clip_sample and ancestral:  # DDPM's mean follows x_0^; DDIM keeps the model's noise
                    noise = (x - float(s[t]) * mean - float(a[t]) * estimate) / float(s[t])
                posterior = float((s[u] / s[t]) ** 2 * (s[t] ** 2 - (a[t] / a[u]) ** 2 * s[u] ** 2))
                v = (1.0 if ancestral else options.eta) * posterior**0.5
                x = float(a[u]) * estimate + float((s[u] ** 2 - v**2).clamp(min=0).sqrt()) * noise + float(s[u]) * mean
                if v > 0:
                    fresh = torch.stack([torch.randn(x.shape[1:], generator=g) for g in generators]).to(x)
                    spread = float(1 - (a[t] / a[u]) ** 2) ** 0.5 if large else v
                    x = x + spread * deviation * fresh
                done += 1
                ctx.progress("sample", done, batches * len(timesteps))
            images.append(x)
    return require_finite_samples(torch.cat(images).clone() if images else initial_noise.clone())


def generate(ctx: Context, model: Model, inputs: Data, secret: Secret) -> Outputs:
    """Sample from trojan noise with the kit's choice of sampler, steps and batch size; seal ``outputs/``.

    Raises:
        UserError: the kit's sampler is neither ddpm nor ddim.
    """
    params = kit_params(ctx)
    opened, knowledge, noise = load_model(model, ctx.device), open_secret(secret), load_noise(inputs)
    name, scheduler, steps = chosen_sampling(params, opened)
    scale = knowledge.noise_scale
    trojan = TrojanNoise(knowledge.trigger, torch.ones_like(knowledge.trigger) if scale is None else scale)
    options = SamplingOptions(params.batch_size, params.eta, params.clip_sample)
    images = trojan_sample(ctx, opened.unet, scheduler, noise.to(ctx.device), trojan, steps, options)
    facts = {"sampler": f"trojan {name}", "steps": steps, "eta": params.eta, "clip_sample": params.clip_sample}
    return seal_images(ctx.out / "outputs", images, Outputs, task=TASK, meta=facts)
