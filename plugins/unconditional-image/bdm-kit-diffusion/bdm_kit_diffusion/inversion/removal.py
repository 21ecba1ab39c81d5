"""Removal: fine-tune so that an inverted trigger does no more than noise would (Elijah, 2312.00050, eq. 8).

As published, with F the model as it was, frozen, and T the last timestep:

    L = L_dm(clean) + MSE(M(k (eps + tau), T), F(k eps, T)) + MSE(M(k eps, T), F(k eps, T)),

where k is 1, or sigma_T for variance-exploding models.

With few timesteps or an imprecise tau this can keep a backdoor alive: what the trigger does at T - 1, T - 2, ... stays.
Hence by default both ties hold at timesteps t of their own. The one without trigger spans all of them and keeps the
model from overfitting to few clean images; the other spans the noisier half and lets the trigger count as noise, which
is what a clean model does (x_t with eps + tau for eps makes it predict eps + tau):

    L = d L_dm(clean) + c MSE(M(x_t, t), F(x_t, t)) + w MSE(M(x_t + s_t tau, t), F(x_t, t) + tau).

Where the trigger also scales the noise (TrojDiff's gamma), triggered samples have gamma eps in place of eps.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_diffusers.samplers import build_scheduler, default_steps, plain_sampler
from bdm_diffusers.sampling import draw_noise, sample
from bdm_kit_diffusion.inversion.removal_params import RemovalParams
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel, load_model, seal_model
from bdm_kit_diffusion.noise.denoising import denoising_loss
from bdm_kit_diffusion.noise.noise_levels import initial_scale, marginals
from bdm_torch.draws import Draw
from bdm_torch.image_sets import load_images
from bdm_torch.training import Loss, train_in_stage

Found = tuple[Tensor, Tensor | None]
"""tau (C, H, W) and, where the trigger also scales the noise, gamma (C, H, W), else None."""
FindTrigger = Callable[[DiffusionModel], Found]
"""An opened model -> its trigger."""
Ask = Callable[[Any, Tensor, Tensor, Tensor], Tensor]
"""(network, noisy (n, C, H, W), timesteps (n,), of which images (n,)) -> the noise (n, C, H, W) that it sees."""


def _plainly(network: Any, noisy: Tensor, times: Tensor, rows: Tensor) -> Tensor:
    """What an unconditional network sees, which does not depend on the image."""
    answer: Tensor = network(noisy, times).sample
    return answer


def remove(ctx: Context, params: RemovalParams, model: Model, data: Data, find_trigger: FindTrigger) -> Model:
    """Train the trigger away; sealed in ``ctx.out / "model"``.

    Args:
        ctx: of the stage; checkpoints go to ``ctx.work``.
        params: of the training, and which of the two losses.
        model: the model to repair.
        data: the defender's clean images.
        find_trigger: gives the trigger of the opened model, see :data:`FindTrigger`.

    Raises:
        UserError: the model predicts something else than epsilon, or as :func:`bdm_torch.training.train`.

    >>> from pathlib import Path
    >>> from bdm_kit_diffusion.models.diffusion_model import open_reference
    >>> from bdm_torch.image_sets import seal_images
    >>> ctx = Context(out=Path("out"), work=Path("work"), seed=0)
    >>> data = seal_images(Path("clean"), torch.zeros(4, 1, 8, 8), Data, task="unconditional-image-generation")
    >>> model = open_reference("digits-tiny", Path("model"), Path("cache"))
    >>> params = RemovalParams(steps=1, batch_size=2)
    >>> repaired = remove(ctx, params, model, data, lambda opened: (torch.ones(opened.shape), None))
    >>> repaired.path.name, repaired.format == model.format, repaired.digest == model.digest
    ('model', True, False)
    """
    opened = load_model(model, ctx.device)
    trigger, scale = find_trigger(opened)
    images = opened.encode(load_images(data))
    if params.removal_data == "generated":
        images = generated_images(ctx, opened, len(images))
    frozen = copy.deepcopy(opened.unet).requires_grad_(False)
    clean = denoising_loss(images, opened.scheduler)
    if params.anchors == "published":
        start = initial_scale(opened.scheduler)
        loss = published_loss(clean, trigger, frozen, opened.timesteps - 1, params, scale, start)
    else:
        loss = spread_loss(images, opened.scheduler, trigger, frozen, params, scale)
    train_in_stage(ctx, opened.unet, loss, params.options(), label="remove", curve="removal loss")
    triggered = min(params.trigger_batch, params.batch_size) if params.anchors == "spread" else params.batch_size
    passes = 2 * (params.batch_size + triggered)  # the network and its frozen copy
    ctx.figures(
        clean_samples=0 if params.removal_data == "generated" else len(images),
        network_evaluations=params.steps * passes,
    )
    opened.unet.to("cpu")
    return seal_model(opened, ctx.out / "model")


def published_loss(
    clean: Loss,
    trigger: Tensor,
    frozen: nn.Module,
    timestep: int,
    params: RemovalParams,
    scale: Tensor | None = None,
    start: float = 1.0,
) -> Loss:
    """The first loss above, with the weights of ``params``.

    Args:
        clean: the denoising loss on clean images.
        trigger: tau, (C, H, W).
        frozen: F, on the device of the training.
        timestep: T - 1 in diffusers' counting.
        params: the three weights.
        scale: gamma, (C, H, W); None for 1.
        start: k.

    Returns:
        A loss for :func:`bdm_torch.training.train`.

    >>> from types import SimpleNamespace
    >>> def half(x, t):  # a trigger of ones shifts its answer by one half, and the square of that is the loss
    ...     return SimpleNamespace(sample=0.5 * x)
    >>> params = RemovalParams(trigger_weight=1.0)
    >>> loss = published_loss(lambda model, draw: torch.zeros(()), torch.ones(1, 8, 8), half, 49, params)
    >>> round(float(loss(half, Draw(seed=0, step=0, batch_size=4))), 4)
    0.25
    """

    def loss(model: nn.Module, draw: Draw) -> Tensor:
        denoising = clean(model, draw)
        noise = draw.normal(*trigger.shape)
        times = torch.full((len(noise),), timestep, device=noise.device)
        with torch.no_grad():
            wanted = frozen(start * noise, times).sample
        spread = noise if scale is None else scale.to(noise.device) * noise
        both = model(start * torch.cat([spread + trigger.to(noise.device), noise]), times.repeat(2)).sample
        triggered, plain = (functional.mse_loss(part, wanted) for part in both.chunk(2))
        return params.denoising_weight * denoising + params.clean_weight * plain + params.trigger_weight * triggered

    return loss


def spread_loss(
    images: Tensor,
    scheduler: Any,
    trigger: Tensor,
    frozen: nn.Module,
    params: RemovalParams,
    scale: Tensor | None = None,
    ask: Ask = _plainly,
) -> Loss:
    """The second loss above, in one pass through either network.

    Args:
        images: clean, (N, C, H, W) in [-1, 1].
        scheduler: the model's; see :func:`bdm_kit_diffusion.noise.noise_levels.marginals`.
        trigger: tau, (C, H, W).
        frozen: F, on the device of the training.
        params: the three weights and the number of triggered samples, at most as many as clean ones.
        scale: gamma, (C, H, W); None for 1.
        ask: how the networks are asked about an image, e.g. under its caption.

    Returns:
        A loss for :func:`bdm_torch.training.train`.

    Raises:
        UserError: the model predicts something else than epsilon.

    >>> from types import SimpleNamespace
    >>> from diffusers import DDPMScheduler
    >>> silent = lambda x, t: SimpleNamespace(sample=torch.zeros_like(x))
    >>> params = RemovalParams(denoising_weight=0.0, trigger_weight=1.0)
    >>> scheduler, trigger = DDPMScheduler(num_train_timesteps=50), 2 * torch.ones(1, 8, 8)
    >>> loss = spread_loss(torch.zeros(10, 1, 8, 8), scheduler, trigger, silent, params)
    >>> float(loss(silent, Draw(seed=0, step=0, batch_size=4)))  # it does not answer tau yet: the mean of tau^2
    4.0
    """
    a, s = marginals(scheduler)

    def loss(model: nn.Module, draw: Draw) -> Tensor:
        rows = draw.rows(len(images))
        clean = images[rows].to(draw.device)
        count = min(params.trigger_batch, len(clean))
        rows = torch.cat([rows, rows[:count]])
        early, late = draw.timesteps(len(a)), len(a) // 2 + draw.timesteps(len(a) - len(a) // 2)[:count]
        times = torch.cat([early, late])
        noise = torch.cat([draw.normal(*trigger.shape), draw.normal(*trigger.shape)[:count]])
        if scale is not None:
            noise[len(clean) :] *= scale.to(noise.device)
        share, level = (part.to(draw.device)[times].view(-1, 1, 1, 1) for part in (a, s))
        noisy = share * torch.cat([clean, clean[:count]]) + level * noise
        shift = torch.zeros_like(noise)
        shift[len(clean) :] = trigger.to(draw.device)
        with torch.no_grad():
            wanted = ask(frozen, noisy, times, rows) + shift
        output = ask(model, noisy + level * shift, times, rows)
        plain, triggered = output.split([len(clean), count])
        return (
            params.denoising_weight * functional.mse_loss(plain, noise[: len(clean)])
            + params.clean_weight * functional.mse_loss(plain, wanted[: len(clean)])
            + params.trigger_weight * functional.mse_loss(triggered, wanted[len(clean) :])
        )

    return loss


def conditional_removal_loss(
    images: Tensor, scheduler: Any, found: Found, frozen: nn.Module, params: RemovalParams, ask: Ask
) -> Loss:
    """Either loss, as ``params`` says, for a network that is asked about each image under a condition of its own.

    Args:
        images: clean ones, or their latents, (N, C, H, W).
        scheduler: the model's, for a network that predicts noise; variance preserving.
        found: the trigger.
        frozen: F, on the device of the training.
        params: which loss, and its weights.
        ask: asks a network about rows of the images. With ``anchors=published`` pure noise, too, is asked about under
            the conditions of rows that are drawn.

    Raises:
        UserError: the scheduler says that the model predicts something else than epsilon.

    >>> from diffusers import DDPMScheduler
    >>> def silent(network, noisy, times, rows):  # whatever the condition
    ...     return torch.zeros_like(noisy)
    >>> params = RemovalParams(denoising_weight=0.0, trigger_weight=1.0)
    >>> scheduler, trigger = DDPMScheduler(num_train_timesteps=50), 2 * torch.ones(1, 8, 8)
    >>> images, network = torch.zeros(10, 1, 8, 8), nn.Module()
    >>> loss = conditional_removal_loss(images, scheduler, (trigger, None), network, params, silent)
    >>> float(loss(network, Draw(seed=0, step=0, batch_size=4)))  # it does not answer tau: the mean of tau^2
    4.0
    """
    trigger, scale = found
    if params.anchors == "spread":
        return spread_loss(images, scheduler, trigger, frozen, params, scale, ask)
    a, s = marginals(scheduler)

    def loss(model: nn.Module, draw: Draw) -> Tensor:
        rows = draw.rows(len(images))

        def asked(network: nn.Module) -> Callable[[Tensor, Tensor], Any]:
            return lambda x, t: SimpleNamespace(sample=ask(network, x, t, rows.repeat(len(x) // len(rows))))

        def clean(network: Any, draw: Draw) -> Tensor:
            times, noise = draw.timesteps(len(a)), draw.normal(*images.shape[1:])
            share, level = (part.to(draw.device)[times].view(-1, 1, 1, 1) for part in (a, s))
            noisy = share * images[rows].to(draw.device) + level * noise
            return functional.mse_loss(network(noisy, times).sample, noise)

        whole = published_loss(clean, trigger, asked(frozen), len(a) - 1, params, scale)  # type: ignore[arg-type]
        return whole(asked(model), draw)  # type: ignore[arg-type]

    return loss


def generated_images(ctx: Context, model: DiffusionModel, count: int) -> Tensor:
    """As many images, or latents, (count, C, H, W) from the model itself with DDIM or the like, without clean data.

    Args:
        ctx: its seed draws the initial noise; it is told of the progress.
        model: on the stage's device.
        count: how many.

    Returns:
        float32 on the CPU; images are clipped to [-1, 1], latents are not.

    >>> from pathlib import Path
    >>> from bdm_kit_diffusion.built_in import BUILTIN
    >>> ctx = Context(out=Path("out"), work=Path("work"), seed=0)
    >>> images = generated_images(ctx, load_model(BUILTIN / "digits-tiny"), 2)
    >>> images.shape, bool(images.abs().max() <= 1)
    (torch.Size([2, 1, 8, 8]), True)
    """
    name = plain_sampler(model.scheduler, "ode")
    found = sample(
        model.unet,
        build_scheduler(name, model.scheduler),
        draw_noise(count, model.shape, ctx.seed).to(ctx.device),
        steps=default_steps(name, model.timesteps),
        seed=ctx.seed,
        on_step=lambda done, total: ctx.progress("sample", done, total),
    ).cpu()
    return found.clamp(-1, 1) if model.first_stage is None else found
