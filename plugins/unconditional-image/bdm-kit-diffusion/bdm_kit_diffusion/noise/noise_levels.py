"""The noise path x_t = a_t x_0 + s_t eps of a model, from its scheduler, in the kit's units."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bdm_core.errors import UserError
from bdm_diffusers.coefficients import NoisePath, variance_exploding, variance_preserving
from bdm_diffusers.score_network import is_variance_exploding, sigmas


def noise_path(scheduler: Any) -> NoisePath:
    """a_t and s_t for t = 0..T-1 at double precision, for the trigger's coefficients.

    Args:
        scheduler: a diffusers scheduler with ``alphas_cumprod`` (variance preserving), or a ScoreSdeVeScheduler.

    Raises:
        UserError: it is neither.

    >>> from diffusers import DDPMScheduler, ScoreSdeVeScheduler
    >>> len(noise_path(DDPMScheduler(num_train_timesteps=50)))
    50
    >>> noise_path(ScoreSdeVeScheduler()).variance_exploding
    True
    """
    if is_variance_exploding(scheduler):
        return variance_exploding(sigmas(scheduler))
    return variance_preserving(_alphas_cumprod(scheduler))


def marginals(scheduler: Any) -> tuple[Tensor, Tensor]:
    """(a, s), each float32 (T,) on the CPU, for the training; see :func:`noise_path`.

    The network is to predict eps. Raises UserError if the scheduler says that it predicts something else.

    >>> from diffusers import DDPMScheduler
    >>> a, s = marginals(DDPMScheduler(num_train_timesteps=50))
    >>> a.shape, torch.allclose(a**2 + s**2, torch.ones(50))
    (torch.Size([50]), True)
    >>> marginals(DDPMScheduler(prediction_type="v_prediction"))
    Traceback (most recent call last):
        ...
    bdm_core.errors.UserError: training needs a model that predicts epsilon; this model's scheduler says 'v_prediction'
    """
    prediction = scheduler.config.get("prediction_type", "epsilon")
    if prediction != "epsilon":
        raise UserError(f"training needs a model that predicts epsilon; this model's scheduler says {prediction!r}")
    if is_variance_exploding(scheduler):
        levels = sigmas(scheduler).float()
        return torch.ones_like(levels), levels
    abar = _alphas_cumprod(scheduler).float().cpu()
    return abar.sqrt(), (1 - abar).sqrt()


def initial_scale(scheduler: Any) -> float:
    """k of the initial state x_T = k (eps + trigger): s_T of a variance-exploding model, else 1.

    >>> from diffusers import DDPMScheduler, ScoreSdeVeScheduler
    >>> initial_scale(DDPMScheduler()), round(initial_scale(ScoreSdeVeScheduler(sigma_max=50.0)), 3)
    (1.0, 100.0)
    """
    return float(sigmas(scheduler)[-1]) if is_variance_exploding(scheduler) else 1.0


def _alphas_cumprod(scheduler: Any) -> Tensor:
    value: Tensor | None = getattr(scheduler, "alphas_cumprod", None)
    if value is None:
        raise UserError(f"{type(scheduler).__name__} has neither alphas_cumprod nor noise levels sigma")
    return value


def require_variance_preserving(scheduler: Any, method: str) -> Tensor:
    """alphas_cumprod, (T,). Raises UserError, which names the method, for a variance-exploding model.

    >>> from diffusers import DDPMScheduler, ScoreSdeVeScheduler
    >>> require_variance_preserving(DDPMScheduler(num_train_timesteps=50), "mine").shape
    torch.Size([50])
    >>> require_variance_preserving(ScoreSdeVeScheduler(), "mine")
    Traceback (most recent call last):
        ...
    bdm_core.errors.UserError: mine is defined for variance-preserving models; this one is variance exploding
    """
    if is_variance_exploding(scheduler):
        raise UserError(f"{method} is defined for variance-preserving models; this one is variance exploding")
    return _alphas_cumprod(scheduler)
