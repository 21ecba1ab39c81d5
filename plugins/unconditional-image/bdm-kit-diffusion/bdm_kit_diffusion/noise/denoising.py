"""The denoising loss on clean images (Ho et al. 2020, arXiv 2006.11239, equation 14).

For variance-exploding models it is denoising score matching, weighted by sigma^2 (Song et al., 2011.13456, equation 7).
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from bdm_kit_diffusion.noise.noise_levels import marginals
from bdm_torch.draws import Draw
from bdm_torch.training import Loss


def denoising_loss(images: Tensor, scheduler: Any) -> Loss:
    """Mean squared error of the predicted noise at x_t = a_t image + s_t noise.

    Args:
        images: (N, C, H, W) in [-1, 1].
        scheduler: see :func:`bdm_kit_diffusion.noise.noise_levels.marginals`.

    Returns:
        A loss for :func:`bdm_torch.training.train`.

    Raises:
        UserError: the model predicts something else than epsilon.

    >>> import torch
    >>> from types import SimpleNamespace
    >>> from diffusers import DDPMScheduler
    >>> loss = denoising_loss(torch.zeros(10, 1, 8, 8), DDPMScheduler(num_train_timesteps=50))
    >>> silent = lambda x, t: SimpleNamespace(sample=torch.zeros_like(x))
    >>> round(float(loss(silent, Draw(seed=0, step=0, batch_size=512))), 1)
    1.0
    """
    a, s = marginals(scheduler)

    def loss(model: nn.Module, draw: Draw) -> Tensor:
        rows = draw.rows(len(images)).to(images.device)
        t = draw.timesteps(len(a))
        noise = draw.normal(*images.shape[1:])
        clean, level = (part.to(draw.device)[t].view(-1, 1, 1, 1) for part in (a, s))
        noisy = clean * images[rows].to(draw.device) + level * noise
        return functional.mse_loss(model(noisy, t).sample, noise)

    return loss
