"""Fine-tuning: the denoising loss on clean images, or a public base as the teacher on clean captions."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_defense_fine_tune_text_to_image.params import FineTuneParams
from bdm_kit_text_to_image.models.bases import open_base
from bdm_kit_text_to_image.models.encoding import add_noise, encode_prompts, predict
from bdm_kit_text_to_image.models.latents import encode_images
from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel, load_model, seal_model
from bdm_kit_text_to_image.prompts.captions import load_captioned
from bdm_kit_text_to_image.training.distillation import UNetTerm, distill_unet, train_module
from bdm_kit_text_to_image.training.encoder_distillation import PromptTerm, TextEncoders, text_encoder_loss
from bdm_torch.draws import Draw
from bdm_torch.training import Loss


def fine_tune(ctx: Context, params: FineTuneParams, model: Model, data: Data) -> Model:
    """Train ``model`` on the captions and images of ``data``; sealed in ``ctx.out / "model"``.

    Raises:
        UserError: the teacher is no base of the model.
        ArtifactError: the images have no captions.
    """
    opened = load_model(model, ctx.device)
    images, captions, _ = load_captioned(data)
    count = min(params.images, len(captions))
    with torch.no_grad():
        latents = encode_images(opened, images.pick(list(range(count))))
    captions = captions[:count]
    if not params.teacher:
        distill_unet(ctx, opened, [UNetTerm(latents, captions)], params.options(), label="fine-tune")
        return seal_model(opened, ctx.out / "model")
    teacher = open_base(params.teacher, opened, ctx.work)
    student = TextEncoders(opened).requires_grad_(True)
    terms = [PromptTerm(captions, captions, params.batch_size)]
    loss = text_encoder_loss(opened, teacher, terms, "mse")
    train_module(ctx, student, loss, params.options(), "fine-tune encoder")
    opened.unet.requires_grad_(True)
    train_module(ctx, opened.unet, follow(opened, teacher, latents, captions), params.options(), "fine-tune UNet")
    return seal_model(opened, ctx.out / "model")


def follow(model: TextToImageModel, teacher: TextToImageModel, latents: Tensor, captions: list[str]) -> Loss:
    """The loss that makes a UNet answer clean captions as the teacher's does, each with its own text encoder."""
    with torch.no_grad():
        read, taught = encode_prompts(model, captions), encode_prompts(teacher, captions)

    def loss(student: nn.Module, draw: Draw) -> Tensor:
        rows = draw.rows(len(latents))
        clean = latents[rows].to(draw.device)
        t, noise = draw.timesteps(model.timesteps), draw.normal(*clean.shape[1:])
        noisy = add_noise(model.scheduler, clean, noise, t)
        with torch.no_grad():
            answer = predict(teacher.unet, noisy, t, taught.rows(rows))
        return functional.mse_loss(predict(student, noisy, t, read.rows(rows)), answer)

    return loss
