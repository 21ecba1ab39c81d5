"""Variance-exploding models in the kit's units: the one place that knows theirs.

A published score model (NCSN++, Song et al., 2011.13456) has images in [0, 1] and x = x_0 + sigma eps; its network gets
sigma as its time and answers the score, -eps / sigma. The kit has images in [-1, 1], timesteps 0..T-1 and networks that
predict eps. With x_kit = 2 x - 1 the noise level becomes s = 2 sigma, and eps stays what it is:

    eps(x_kit, t) = -sigma_t score((x_kit + 1) / 2, sigma_t).

So training, sampling, triggers and defenses see one kind of model.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import UNet2DModel
from diffusers.models.unets.unet_2d import UNet2DOutput
from torch import Tensor, nn

from bdm_core.errors import UserError
from bdm_diffusers.noise_predictor import NoisePredictor

SCHEDULER = "ScoreSdeVeScheduler"
"""The diffusers scheduler that a variance-exploding model comes with."""
UNITS = 2.0
"""A length in the kit's range [-1, 1] over one in the model's own range [0, 1]."""


def is_variance_exploding(scheduler: Any) -> bool:
    """Whether a diffusers scheduler holds noise levels sigma instead of betas."""
    return type(scheduler).__name__ == SCHEDULER


def own_sigmas(scheduler: Any) -> Tensor:
    """sigma_t for t = 0..T-1, float64 (T,), in the model's own units: a geometric series (2011.13456, section 3.2).

    Args:
        scheduler: a ScoreSdeVeScheduler, or anything whose ``config`` has sigma_min, sigma_max and num_train_timesteps.

    Raises:
        UserError: the levels do not grow.
    """
    config = scheduler.config
    low, high, count = float(config["sigma_min"]), float(config["sigma_max"]), int(config["num_train_timesteps"])
    if not 0 < low < high or count < 2:
        raise UserError(f"noise levels need 0 < sigma_min < sigma_max and 2 timesteps, not {low:g}, {high:g}, {count}")
    return low * (high / low) ** (torch.arange(count, dtype=torch.float64) / (count - 1))


def sigmas(scheduler: Any) -> Tensor:
    """s_t = 2 sigma_t, float64 (T,): the noise levels in the kit's units."""
    return UNITS * own_sigmas(scheduler)


class ScoreNetwork(nn.Module):
    """A score network as a noise predictor in the kit's units: ``network(x, t).sample`` is eps.

    x: (N, C, H, W); t: a timestep or (N,) of them, integers in 0..T-1. ``unet`` is the network as published.
    """

    def __init__(self, unet: UNet2DModel, scheduler: Any) -> None:
        super().__init__()
        self.unet = unet
        self.sigmas: Tensor
        self.register_buffer("sigmas", own_sigmas(scheduler).float(), persistent=False)

    @property
    def config(self) -> Any:
        """The published network's configuration."""
        return self.unet.config

    def forward(self, sample: Tensor, timestep: Tensor | int) -> UNet2DOutput:
        """The noise in ``sample``."""
        level = self.sigmas[torch.as_tensor(timestep, device=self.sigmas.device).long()].expand(len(sample))
        score = self.unet((sample + 1) / UNITS, level).sample
        return UNet2DOutput(sample=-level.view(-1, 1, 1, 1) * score)


def published_network(network: nn.Module) -> UNet2DModel:
    """The UNet2DModel to save: what :class:`ScoreNetwork` or :class:`NoisePredictor` wraps, or the network itself."""
    bare = network.unet if isinstance(network, ScoreNetwork | NoisePredictor) else network
    assert isinstance(bare, UNet2DModel)
    return bare
