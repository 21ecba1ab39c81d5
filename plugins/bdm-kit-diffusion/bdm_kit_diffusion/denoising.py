"""The denoising loss, for clean and for poisoned samples."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdm_core.errors import UserError
from bdm_kit_diffusion.draws import Draw
from bdm_kit_diffusion.training import Loss


def denoising_loss(
    images: Tensor,
    scheduler: Any,
    *,
    shifts: Tensor | None = None,
    rho: Tensor | None = None,
    target_coefficient: Tensor | None = None,
) -> Loss:
    """Mean squared error of the noise prediction; poisoned samples are shifted (BadDiffusion, VillanDiffusion).

    With a_t = sqrt(abar_t) and s_t = sqrt(1 - abar_t)::

        x_t    = a_t * image + s_t * noise + rho_t * shift
        target = noise + R_t * shift

    Args:
        images: (N, C, H, W) in [-1, 1]; for poisoned rows the backdoor's target.
        scheduler: has ``alphas_cumprod`` and predicts epsilon.
        shifts: (N, C, H, W): each row's trigger, zeros for clean rows; None for clean training.
        rho: (T,), the shift of the noisy image at each timestep; needed with ``shifts``.
        target_coefficient: (T,), R_t; needed with ``shifts``.

    Returns:
        A loss for :func:`bdm_kit_diffusion.training.train`.

    Raises:
        UserError: the scheduler's prediction type is not epsilon, or the arguments do not fit together.
    """
    prediction = scheduler.config.get("prediction_type", "epsilon")
    if prediction != "epsilon":
        raise UserError(f"training needs a model that predicts epsilon; this model's scheduler says {prediction!r}")
    abar = scheduler.alphas_cumprod.to(torch.float32)
    tables = {"a": abar.sqrt(), "s": (1 - abar).sqrt()}
    if shifts is not None:
        if rho is None or target_coefficient is None or shifts.shape != images.shape:
            raise UserError("shifts need the shape of images, and rho and target_coefficient with one value a timestep")
        tables |= {"rho": rho.to(torch.float32), "R": target_coefficient.to(torch.float32)}

    def loss(model: nn.Module, draw: Draw) -> Tensor:
        rows = draw.rows(len(images)).to(images.device)
        t = draw.timesteps(len(abar))
        target = draw.normal(*images.shape[1:])
        at = {name: table.to(draw.device)[t].view(-1, 1, 1, 1) for name, table in tables.items()}
        noisy = at["a"] * images[rows].to(draw.device) + at["s"] * target
        if shifts is not None:
            shift = shifts[rows].to(draw.device)
            noisy = noisy + at["rho"] * shift
            target = target + at["R"] * shift
        return functional.mse_loss(model(noisy, t).sample, target)

    return loss
