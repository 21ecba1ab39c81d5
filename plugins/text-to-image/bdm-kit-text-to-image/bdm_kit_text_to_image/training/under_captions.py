"""Training of a UNet on clean captioned pictures by a loss that knows nothing of text."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import Tensor

from bdm_core.artifacts import Data
from bdm_kit_text_to_image.models.generation import generate_images
from bdm_kit_text_to_image.models.latents import encode_images
from bdm_kit_text_to_image.models.prompted import CaptionReader, noise_scheduler
from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel
from bdm_kit_text_to_image.prompts.captions import load_captioned
from bdm_kit_text_to_image.training.distillation import train_module
from bdm_torch.training import Loss, TrainingOptions, TrainingResult

if TYPE_CHECKING:
    from bdm_core.context import Context

EMPTY = 10
"""Every so many rows have the empty caption, for guidance."""
LARGEST_SEED = 2**31
MakeLoss = Callable[[Tensor, Any, CaptionReader], Loss]
"""Latents (N, C, h, w), a scheduler whose network predicts noise, and how a UNet is asked about rows -> the loss."""


def train_under_captions(
    ctx: Context,
    model: TextToImageModel,
    data: Data,
    options: TrainingOptions,
    make_loss: MakeLoss,
    *,
    generated: bool = False,
) -> TrainingResult:
    """Train ``model.unet`` in place.

    Args:
        ctx: of the stage.
        model: its text encoders stay as they are.
        data: clean captioned pictures.
        options: of the training.
        make_loss: see :data:`MakeLoss`.
        generated: take the pictures that the model itself makes of the captions instead of the given ones.

    Raises:
        ArtifactError: the pictures have no captions.
        StageError: the loss is no longer finite.
    """
    images, captions, _ = load_captioned(data)
    pictures = generate_images(model, captions, seeds=ctx.seed % LARGEST_SEED) if generated else images
    latents = encode_images(model, pictures).cpu()
    texts = ["" if row % EMPTY == EMPTY - 1 else caption for row, caption in enumerate(captions)]
    loss = make_loss(latents, noise_scheduler(model), CaptionReader(model, texts))
    model.unet.requires_grad_(True)
    return train_module(ctx, model.unet, loss, options, "remove")
