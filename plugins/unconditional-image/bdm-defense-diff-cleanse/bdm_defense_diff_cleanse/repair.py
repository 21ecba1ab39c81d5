"""Repair: prune the channels that the inverted trigger uses, then fine-tune (2407.21316, section 4.3)."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.records import Detection
from bdm_defense_diff_cleanse.params import DiffCleanseParams
from bdm_defense_diff_cleanse.pruning import choose, importances, prunable, remove_channels
from bdm_defense_diff_cleanse.search import search
from bdm_kit_diffusion.inversion.evidence import trigger_of
from bdm_kit_diffusion.models.diffusion_model import load_model, seal_model
from bdm_kit_diffusion.noise.denoising import denoising_loss
from bdm_torch.draws import Draw
from bdm_torch.image_sets import load_images
from bdm_torch.training import Loss, train_in_stage


def distilled_loss(images: Tensor, scheduler: Any, frozen: nn.Module, weight: float) -> Loss:
    """|| M(x_t, t) - eps ||^2 + weight || M(x_t, t) - F(x_t, t) ||^2 on clean images, F the model as it was.

    Args:
        images: (N, C, H, W) in [-1, 1], of a latent model their latents.
        scheduler: has ``alphas_cumprod``.
        frozen: F, on the device of the training.
        weight: of the second term.
    """
    abar = scheduler.alphas_cumprod.float()

    def loss(model: nn.Module, draw: Draw) -> Tensor:
        clean = images[draw.rows(len(images))].to(draw.device)
        t = draw.timesteps(len(abar))
        noise = draw.normal(*images.shape[1:])
        level = abar.to(draw.device)[t].view(-1, 1, 1, 1)
        noisy = level.sqrt() * clean + (1 - level).sqrt() * noise
        with torch.no_grad():
            before = frozen(noisy, t).sample
        output = model(noisy, t).sample
        return functional.mse_loss(output, noise) + weight * functional.mse_loss(output, before)

    return loss


def repair(ctx: Context, params: DiffCleanseParams, model: Model, data: Data, detection: Detection | None) -> Model:
    """Prune and fine-tune with the trigger that ``detection`` found; without a detection, invert here first.

    Raises:
        UserError: the detection's evidence holds no trigger of this model's shape.
    """
    opened = load_model(model, ctx.device)
    images = opened.encode(load_images(data))
    if detection is None:
        trigger = search(opened, params, ctx.seed, ctx.device, ctx.progress).best.found.shift
    else:
        trigger = trigger_of(detection, opened.shape, "diff-cleanse")[0]
    frozen = copy.deepcopy(opened.unet).requires_grad_(False)
    clean, triggered = (
        importances(opened.unet, opened.scheduler, images, tau, params, seed=ctx.seed, device=ctx.device)
        for tau in (None, trigger)
    )
    removed = choose(clean, triggered, params)
    remove_channels(opened.unet, removed)
    loss = denoising_loss(images, opened.scheduler)
    if params.distillation_weight:
        loss = distilled_loss(images, opened.scheduler, frozen, params.distillation_weight)
    train_in_stage(ctx, opened.unet, loss, params.options(), label="fine-tune", curve="repair loss")
    ctx.figures(
        pruned_channels=len(removed),
        channels=sum(block.channels for block in prunable(opened.unet)),
        clean_images=len(images),
        network_evaluations=params.batch_size * (2 * params.importance_batches + params.steps),
    )
    opened.unet.to("cpu")
    return seal_model(opened, ctx.out / "model")
