"""The denoising loss on clean images (Ho et al. 2020, arXiv 2006.11239, equation 14)."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from bdm_core.errors import UserError
from bdm_kit_diffusion.draws import Draw
from bdm_kit_diffusion.training import Loss


def denoising_loss(images: Tensor, scheduler: Any) -> Loss:
    """Mean squared error of the predicted noise at x_t = sqrt(abar_t) image + sqrt(1 - abar_t) noise.

    Args:
        images: (N, C, H, W) in [-1, 1].
        scheduler: has ``alphas_cumprod``, shape (T,), and predicts epsilon.

    Returns:
        A loss for :func:`bdm_kit_diffusion.training.train`.

    Raises:
        UserError: the model predicts something else than epsilon.
    """
    prediction = scheduler.config.get("prediction_type", "epsilon")
    if prediction != "epsilon":
        raise UserError(f"training needs a model that predicts epsilon; this model's scheduler says {prediction!r}")
    abar = scheduler.alphas_cumprod.float()

    def loss(model: nn.Module, draw: Draw) -> Tensor:
        rows = draw.rows(len(images)).to(images.device)
        t = draw.timesteps(len(abar))
        noise = draw.normal(*images.shape[1:])
        level = abar.to(draw.device)[t].view(-1, 1, 1, 1)
        noisy = level.sqrt() * images[rows].to(draw.device) + (1 - level).sqrt() * noise
        return functional.mse_loss(model(noisy, t).sample, noise)

    return loss
