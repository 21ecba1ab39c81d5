"""Fine-tuning with the denoising loss on clean images."""

from __future__ import annotations

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_defense_fine_tune.params import FineTuneParams
from bdm_kit_diffusion.models.diffusion_model import load_model, seal_model
from bdm_kit_diffusion.noise.denoising import denoising_loss
from bdm_torch.image_sets import load_images
from bdm_torch.training import train_in_stage


def fine_tune(ctx: Context, params: FineTuneParams, model: Model, data: Data) -> Model:
    """Train ``model`` on the images of ``data``; sealed in ``ctx.out / "model"``."""
    opened = load_model(model, ctx.device)
    loss = denoising_loss(opened.encode(load_images(data)), opened.scheduler)
    train_in_stage(ctx, opened.unet, loss, params.options(), label="fine-tune", curve="repair loss")
    opened.unet.to("cpu")
    return seal_model(opened, ctx.out / "model")
