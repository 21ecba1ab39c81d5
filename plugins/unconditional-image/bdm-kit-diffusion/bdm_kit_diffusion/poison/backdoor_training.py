"""Train a backdoor into a diffusion model: one loss for every attack on the initial noise.

The loss is the mean over clean and poisoned samples of ||M(x_t, t) - target||^2 with

    x_t    = a_t x_0 + s_t k eps + rho_t r         target = eps + R_t r

where r = 0 and k = 1 for clean samples, and x_0 is the target image for poisoned ones. BadDiffusion (2212.05400, eq. 9)
and VillanDiffusion (2306.06874, eq. 10) have k = 1; TrojDiff (2303.05762, eq. 8) has rho = s, R = 0 and k = gamma.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdm_core.artifacts import Data, Model
from bdm_core.errors import UserError
from bdm_core.records import Backdoored
from bdm_diffusers.coefficients import PoisonSchedule
from bdm_diffusers.samplers import MINIMUM_TRIGGER_NORM
from bdm_kit_diffusion.models.diffusion_model import load_model, seal_model
from bdm_kit_diffusion.noise.noise_levels import marginals
from bdm_kit_diffusion.poison.latent_poisoning import encode_poisoned
from bdm_kit_diffusion.poison.poisoning import PoisonedSet, open_poisoned
from bdm_kit_diffusion.poison.secret import DiffusionSecret, seal_secret
from bdm_kit_diffusion.poison.secret_facts import SecretFacts
from bdm_torch.draws import Draw
from bdm_torch.training import Loss, TrainingOptions, train_in_stage

if TYPE_CHECKING:
    from bdm_core.context import Context


def backdoor_loss(
    poisoned: PoisonedSet, scheduler: Any, schedule: PoisonSchedule, noise_scale: Tensor | None = None
) -> Loss:
    """The loss above, for :func:`bdm_torch.training.train`.

    Args:
        poisoned: the training set.
        scheduler: the model's; see :func:`bdm_kit_diffusion.noise.noise_levels.marginals`.
        schedule: rho and R for its T timesteps.
        noise_scale: k of poisoned samples, (C, H, W); None for 1.

    Raises:
        UserError: the model predicts something else than epsilon, or T differs.

    >>> from pathlib import Path
    >>> from types import SimpleNamespace
    >>> from bdm_core import Context
    >>> from bdm_diffusers.coefficients import poison_schedule
    >>> from bdm_kit_diffusion.poison.poisoning import Mixture, poison_by_name
    >>> from bdm_torch.image_sets import seal_images
    >>> from diffusers import DDPMScheduler
    >>> scheduler = DDPMScheduler(num_train_timesteps=50)
    >>> data = seal_images(Path("clean"), torch.zeros(10, 1, 16, 16), Data, task="unconditional-image-generation")
    >>> ctx = Context(out=Path("out"), work=Path("work"), seed=0)
    >>> poisoned = open_poisoned(poison_by_name(ctx, data, "box", "square", Mixture(0.3)))
    >>> loss = backdoor_loss(poisoned, scheduler, poison_schedule(scheduler.alphas_cumprod, "bad", "sde"))
    >>> silent = lambda x, t: SimpleNamespace(sample=torch.zeros_like(x))
    >>> bool(loss(silent, Draw(seed=0, step=0, batch_size=8)) > 0)
    True
    """
    a, s = marginals(scheduler)
    if len(a) != len(schedule):
        raise UserError(f"the poison schedule has {len(schedule)} timesteps, the model {len(a)}")

    def loss(model: nn.Module, draw: Draw) -> Tensor:
        rows = draw.rows(len(poisoned.images))
        t = draw.timesteps(len(a))
        noise = draw.normal(*poisoned.images.shape[1:])
        images, shift = poisoned.batch(rows, draw.device)
        clean, level = (part.to(draw.device)[t].view(-1, 1, 1, 1) for part in (a, s))
        scale: Tensor | float = 1.0
        if noise_scale is not None:
            flags = poisoned.poisoned[rows].to(draw.device).view(-1, 1, 1, 1)
            scale = torch.where(flags, noise_scale.to(draw.device), 1.0)
        noisy = clean * images + level * scale * noise
        noisy, target = schedule.apply(noisy, noise, shift, t)
        return functional.mse_loss(model(noisy, t).sample, target)

    return loss


def inject(
    ctx: Context,
    model: Model,
    data: Data,
    schedule: PoisonSchedule,
    options: TrainingOptions,
    *,
    facts: SecretFacts,
    noise_scale: Tensor | None = None,
) -> Backdoored:
    """Fine-tune ``model`` on poisoned ``data``; seal ``model/`` and ``secret/`` in ``ctx.out``.

    Args:
        ctx: of the stage; checkpoints go to ``ctx.work``.
        model: the clean model.
        data: from :func:`bdm_kit_diffusion.poison.poisoning.seal_poisoned`.
        schedule: rho and R for the model's timesteps.
        options: of the training.
        facts: for the secret; without a solver class it gets the schedule's.
        noise_scale: see :func:`backdoor_loss`.

    >>> from pathlib import Path
    >>> from bdm_core import Context
    >>> from bdm_diffusers.coefficients import poison_schedule
    >>> from bdm_kit_diffusion.models.diffusion_model import open_reference
    >>> from bdm_kit_diffusion.poison.poisoning import Mixture, poison_by_name
    >>> from bdm_torch.image_sets import seal_images
    >>> ctx = Context(out=Path("out"), work=Path("work"), seed=0)
    >>> data = seal_images(Path("clean"), torch.zeros(10, 1, 8, 8), Data, task="unconditional-image-generation")
    >>> poisoned = poison_by_name(ctx, data, "checker", "cross", Mixture(0.3))
    >>> model = open_reference("digits-tiny", Path("model"), Path("cache"))
    >>> schedule = poison_schedule(load_model(model).scheduler.alphas_cumprod, "bad", "sde")
    >>> options = TrainingOptions(steps=1, batch_size=4)
    >>> done = inject(ctx, model, poisoned, schedule, options, facts=SecretFacts(family="mine"))
    >>> done.model.path.name, done.secret.path.name
    ('model', 'secret')
    """
    opened = load_model(model)
    poisoned = open_poisoned(data)
    if poisoned.images.shape[1:] != torch.Size(opened.image_shape):
        raise UserError(f"the data has shape {tuple(poisoned.images.shape[1:])}, the model {opened.image_shape}")
    picture, target = poisoned.trigger, poisoned.target
    if opened.first_stage is not None:
        if noise_scale is not None:
            raise UserError("a trigger with another deviation of the noise needs a model of pixels, not of latents")
        poisoned = encode_poisoned(poisoned, opened.first_stage, ctx.device, ctx.work / "latents.safetensors")
    norm = float(poisoned.trigger.double().norm())
    if schedule.solver == "sde" and noise_scale is None and norm < MINIMUM_TRIGGER_NORM:
        ctx.log.warning(
            "the trigger's norm %.2f is below %.1f: clean and triggered noise overlap, so the backdoor will be weak or "
            "leak into clean samples",
            norm,
            MINIMUM_TRIGGER_NORM,
        )
    loss = backdoor_loss(poisoned, opened.scheduler, schedule, noise_scale)
    train_in_stage(ctx, opened.unet, loss, options, label="backdoor")
    opened.unet.to("cpu")
    facts = facts.model_copy(update={"solver_class": facts.solver_class or schedule.solver})
    secret = DiffusionSecret(poisoned.trigger, target, facts, noise_scale, picture)
    return Backdoored(
        model=seal_model(opened, ctx.out / "model"), secret=seal_secret(ctx.out / "secret", secret, task=model.task)
    )
