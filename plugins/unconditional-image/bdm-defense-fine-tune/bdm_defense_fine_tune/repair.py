"""Fine-tuning with the denoising loss on clean images."""

from __future__ import annotations

from dataclasses import replace

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_defense_fine_tune.params import FineTuneParams
from bdm_kit_diffusion.models.diffusion_model import load_model, seal_model
from bdm_kit_diffusion.noise.denoising import denoising_loss
from bdm_torch.image_sets import load_images
from bdm_torch.training import train


def fine_tune(ctx: Context, params: FineTuneParams, model: Model, data: Data) -> Model:
    """Train ``model`` on the images of ``data``; sealed in ``ctx.out / "model"``."""
    opened = load_model(model, ctx.device)
    result = train(
        opened.unet,
        denoising_loss(opened.encode(load_images(data)), opened.scheduler),
        replace(params.options(), label="fine-tune"),
        seed=ctx.seed,
        device=ctx.device,
        work=ctx.work,
        progress=ctx.progress,
    )
    ctx.curve("repair loss", result.losses)
    opened.unet.to("cpu")
    return seal_model(opened, ctx.out / "model")
