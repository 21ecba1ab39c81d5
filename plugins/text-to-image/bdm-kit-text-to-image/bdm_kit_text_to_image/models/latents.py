"""Images to latents and back, through the pipeline's autoencoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bdm_torch.image_rows import ImageRows, batch_of

if TYPE_CHECKING:
    from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel


def encode_images(model: TextToImageModel, images: Tensor | ImageRows, batch_size: int = 64) -> Tensor:
    """Latents (N, C, h, w) of images (N, 3, H, W) in [-1, 1]: the posterior's mean, in the scale the UNet works in.

    On the model's device, without gradient; large images pass through the autoencoder one by one.

    >>> from bdm_kit_text_to_image.models.tiny import tiny_model
    >>> model = tiny_model()
    >>> encode_images(model, torch.zeros(2, 3, 16, 16)).shape
    torch.Size([2, 4, 8, 8])
    """
    scale, shift = _scale(model.vae)
    batch_size = batch_of(images.shape, batch_size)
    with torch.no_grad():
        parts = [
            model.vae.encode(images[start : start + batch_size].to(model.device)).latent_dist.mean
            for start in range(0, len(images), batch_size)
        ]
    empty = torch.empty(0, *model.latent_shape, device=model.device)
    return (torch.cat(parts) if parts else empty).sub(shift).mul(scale)


def encode_spreads(model: TextToImageModel, images: Tensor | ImageRows) -> Tensor:
    """The posterior's standard deviation of images (N, 3, H, W), (N, C, h, w), in the scale of :func:`encode_images`.

    >>> from bdm_kit_text_to_image.models.tiny import tiny_model
    >>> model = tiny_model()
    >>> bool((encode_spreads(model, torch.zeros(2, 3, 16, 16)) > 0).all())
    True
    """
    size = batch_of(images.shape, 64)
    with torch.no_grad():
        parts = [
            model.vae.encode(images[start : start + size].to(model.device)).latent_dist.std
            for start in range(0, len(images), size)
        ]
    return (torch.cat(parts) if parts else torch.empty(0, *model.latent_shape)).mul(_scale(model.vae)[0])


def decode_latents(model: TextToImageModel, latents: Tensor, batch_size: int = 64) -> Tensor:
    """Images (N, 3, H, W), clamped to [-1, 1], of latents (N, C, h, w), on the model's device.

    With gradients if the latents require them and gradients are enabled; large images one by one.

    >>> from bdm_kit_text_to_image.models.tiny import tiny_model
    >>> model = tiny_model()
    >>> with torch.no_grad():
    ...     decode_latents(model, torch.zeros(2, 4, 8, 8)).shape
    torch.Size([2, 3, 16, 16])
    """
    scale, shift = _scale(model.vae)
    batch_size = batch_of(model.image_shape, batch_size)
    parts = [
        model.vae.decode(latents[start : start + batch_size].to(model.device) / scale + shift).sample
        for start in range(0, len(latents), batch_size)
    ]
    return (torch.cat(parts) if parts else torch.empty(0, *model.image_shape, device=model.device)).clamp(-1, 1)


def round_trip_error(model: TextToImageModel, images: Tensor, mask: Tensor) -> float:
    """How badly the autoencoder reproduces a part of images: the mean squared error, pixels in [0, 1].

    Args:
        model: its autoencoder is asked.
        images: (N, 3, H, W) in [-1, 1].
        mask: (H, W), (1, H, W) or (3, H, W), true or 1 where the part is.

    >>> from bdm_kit_text_to_image.models.tiny import tiny_model
    >>> model = tiny_model()
    >>> 0 < round_trip_error(model, torch.ones(2, 3, 16, 16), torch.ones(16, 16)) <= 1
    True
    """
    with torch.no_grad():
        back = decode_latents(model, encode_images(model, images))
    chosen = mask.to(back.device).bool().expand(images.shape[1:]).expand(images.shape)
    return float((back - images.to(back.device))[chosen].div(2).square().mean())


def _scale(vae: Any) -> tuple[float, float]:
    return float(vae.config.scaling_factor), float(vae.config.get("shift_factor") or 0.0)
