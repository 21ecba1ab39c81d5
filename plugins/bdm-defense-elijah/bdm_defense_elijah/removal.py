"""Removal: fine-tune so that the inverted trigger does no more than noise would (Elijah, 2312.00050, eq. 8).

As published, with F the model as it was, frozen, and T the last timestep:

    L = L_dm(clean) + MSE(M(eps + tau, T), F(eps, T)) + MSE(M(eps, T), F(eps, T)).

With few timesteps or an imprecise tau this can keep a backdoor alive: what the trigger does at T - 1, T - 2, ... stays.
Hence by default both ties hold at timesteps t of their own. The one without trigger spans all of them and keeps the
model from overfitting to few clean images; the other spans the noisier half and lets the trigger count as noise, which
is what a clean model does (x_t with eps + tau for eps makes it predict eps + tau):

    L = d L_dm(clean) + c MSE(M(x_t, t), F(x_t, t)) + w MSE(M(x_t + s_t tau, t), F(x_t, t) + tau).
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdm_core.artifacts import Data, Detection, Evidence, Model
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_defense_elijah.detection import examine
from bdm_defense_elijah.plugin import ElijahParams
from bdm_kit_diffusion.data import load_images
from bdm_kit_diffusion.denoising import denoising_loss
from bdm_kit_diffusion.draws import Draw
from bdm_kit_diffusion.models import DiffusionModel, load_model, seal_model
from bdm_kit_diffusion.samplers import build_scheduler, default_steps
from bdm_kit_diffusion.sampling import draw_noise, sample
from bdm_kit_diffusion.tensors import read_tensors
from bdm_kit_diffusion.training import Loss, train


def published_loss(clean: Loss, trigger: Tensor, frozen: nn.Module, timestep: int, params: ElijahParams) -> Loss:
    """The first loss above, with the weights of ``params``.

    Args:
        clean: the denoising loss on clean images.
        trigger: tau, (C, H, W).
        frozen: F, on the device of the training.
        timestep: T - 1 in diffusers' counting.
        params: the three weights.
    """

    def loss(model: nn.Module, draw: Draw) -> Tensor:
        denoising = clean(model, draw)
        noise = draw.normal(*trigger.shape)
        times = torch.full((len(noise),), timestep, device=noise.device)
        with torch.no_grad():
            wanted = frozen(noise, times).sample
        both = model(torch.cat([noise + trigger.to(noise.device), noise]), times.repeat(2)).sample
        triggered, plain = (functional.mse_loss(part, wanted) for part in both.chunk(2))
        return params.denoising_weight * denoising + params.clean_weight * plain + params.trigger_weight * triggered

    return loss


def spread_loss(images: Tensor, scheduler: Any, trigger: Tensor, frozen: nn.Module, params: ElijahParams) -> Loss:
    """The second loss above, in one pass through either network.

    Args:
        images: clean, (N, C, H, W) in [-1, 1].
        scheduler: has ``alphas_cumprod``.
        trigger: tau, (C, H, W).
        frozen: F, on the device of the training.
        params: the three weights and the number of triggered samples, at most as many as clean ones.
    """
    abar = scheduler.alphas_cumprod.to(torch.float32)

    def loss(model: nn.Module, draw: Draw) -> Tensor:
        clean = images[draw.rows(len(images))].to(draw.device)
        count = min(params.trigger_batch, len(clean))
        early, late = draw.timesteps(len(abar)), len(abar) // 2 + draw.timesteps(len(abar) - len(abar) // 2)[:count]
        times = torch.cat([early, late])
        noise = torch.cat([draw.normal(*trigger.shape), draw.normal(*trigger.shape)[:count]])
        level = abar.to(draw.device)[times].view(-1, 1, 1, 1)
        noisy = level.sqrt() * torch.cat([clean, clean[:count]]) + (1 - level).sqrt() * noise
        shift = torch.zeros_like(noise)
        shift[len(clean) :] = trigger.to(draw.device)
        with torch.no_grad():
            wanted = frozen(noisy, times).sample + shift
        output = model(noisy + (1 - level).sqrt() * shift, times).sample
        plain, triggered = output.split([len(clean), count])
        return (
            params.denoising_weight * functional.mse_loss(plain, noise[: len(clean)])
            + params.clean_weight * functional.mse_loss(plain, wanted[: len(clean)])
            + params.trigger_weight * functional.mse_loss(triggered, wanted[len(clean) :])
        )

    return loss


def repair(ctx: Context, params: ElijahParams, model: Model, data: Data, detection: Detection | None) -> Model:
    """Remove the backdoor that ``detection`` found; without one, invert here first.

    A model that was found clean is returned as it is, unless ``repair_clean`` says otherwise.

    Raises:
        UserError: the detection's evidence holds no trigger of this model's shape.
    """
    if detection is not None and detection.verdict == "clean" and not params.repair_clean:
        ctx.log.info("elijah found the model clean and leaves it as it is")
        return model
    opened = load_model(model, ctx.device)
    trigger = inverted_trigger(ctx, params, opened, detection)
    images = load_images(data)
    if params.removal_data == "generated":
        images = generated_images(ctx, opened, len(images))
    frozen = copy.deepcopy(opened.unet).requires_grad_(False)
    clean = denoising_loss(images, opened.scheduler)
    if params.anchors == "published":
        loss = published_loss(clean, trigger, frozen, opened.timesteps - 1, params)
    else:
        loss = spread_loss(images, opened.scheduler, trigger, frozen, params)
    result = train(
        opened.unet, loss, params.options(),
        seed=ctx.seed, device=ctx.device, work=ctx.work, label="remove", progress=ctx.progress,
    )  # fmt: skip
    ctx.curve("removal loss", result.losses)
    opened.unet.to("cpu")
    return seal_model(opened, ctx.out / "model")


def inverted_trigger(ctx: Context, params: ElijahParams, model: DiffusionModel, detection: Detection | None) -> Tensor:
    """tau (C, H, W): from the evidence, or, without a detection, inverted now."""
    if detection is None:
        return examine(ctx, params, model).candidate.trigger
    evidence: Evidence | None = detection.evidence
    if evidence is None or evidence.format != "inverted-trigger":
        found = "no evidence" if evidence is None else f"evidence of the format {evidence.format!r}"
        raise UserError(f"elijah's removal needs an inverted trigger; the detection has {found}: use --detect elijah")
    trigger = read_tensors(evidence.file("tensors.safetensors")).get("trigger")
    if trigger is None or tuple(trigger.shape) != model.shape:
        raise UserError(f"{evidence.path} holds no trigger of the model's shape {model.shape}")
    return trigger


def generated_images(ctx: Context, model: DiffusionModel, count: int) -> Tensor:
    """As many images (count, C, H, W) from the model itself with DDIM, for a defender without clean data."""
    return sample(
        model.unet,
        build_scheduler("ddim", model.scheduler),
        draw_noise(count, model.shape, ctx.seed).to(ctx.device),
        steps=default_steps("ddim", model.timesteps),
        seed=ctx.seed,
        on_step=lambda done, total: ctx.progress("sample", done, total),
    ).clamp(-1, 1).cpu()  # fmt: skip
