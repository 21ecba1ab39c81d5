"""Networks that predict v or the image, as networks that predict the noise: the one place that knows the difference.

With x = sqrt(abar) x_0 + sqrt(1 - abar) eps and v = sqrt(abar) eps - sqrt(1 - abar) x_0 (Salimans and Ho, 2202.00512),

    eps = sqrt(abar) v + sqrt(1 - abar) x      and      eps = (x - sqrt(abar) x_0) / sqrt(1 - abar).

So training, sampling, triggers and defenses see one kind of model.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import UNet2DModel
from diffusers.models.unets.unet_2d import UNet2DOutput
from torch import Tensor, nn

NOISE = "epsilon"
"""How diffusers calls the prediction of the noise."""


def noise_of(prediction: str, answer: Tensor, noisy: Tensor, abar: Tensor) -> Tensor:
    """The noise that a network's answer stands for.

    Args:
        prediction: ``epsilon``, ``v_prediction`` or ``sample``.
        answer: of the network, (N, C, H, W).
        noisy: what it was asked about, (N, C, H, W).
        abar: alpha_bar at the timesteps, strictly between 0 and 1, broadcastable to both.
    """
    if prediction == "v_prediction":
        return abar.sqrt() * answer + (1 - abar).sqrt() * noisy
    return (noisy - abar.sqrt() * answer) / (1 - abar).sqrt() if prediction == "sample" else answer


def answer_of(prediction: str, noise: Tensor, noisy: Tensor, abar: Tensor) -> Tensor:
    """What a network should answer so that :func:`noise_of` gives ``noise``: its inverse."""
    if prediction == "v_prediction":
        return (noise - (1 - abar).sqrt() * noisy) / abar.sqrt()
    return (noisy - (1 - abar).sqrt() * noise) / abar.sqrt() if prediction == "sample" else noise


class NoisePredictor(nn.Module):
    """A network that predicts v or x_0 as a noise predictor: ``network(x, t).sample`` is eps, with its gradient.

    Args:
        unet: the network as published.
        abar: alpha_bar at every timestep, (T,), strictly between 0 and 1.
        prediction: what the network predicts, ``v_prediction`` or ``sample``.
    """

    def __init__(self, unet: UNet2DModel, abar: Tensor, prediction: str) -> None:
        super().__init__()
        self.unet, self.prediction = unet, prediction
        self.abar: Tensor
        self.register_buffer("abar", abar.clone().float(), persistent=False)

    @property
    def config(self) -> Any:
        """The published network's configuration."""
        return self.unet.config

    def forward(self, sample: Tensor, timestep: Tensor | int) -> UNet2DOutput:
        """The noise in ``sample`` (N, C, H, W) at a timestep or (N,) of them, integers in 0..T-1."""
        abar = self.abar[torch.as_tensor(timestep, device=self.abar.device).long()].view(-1, 1, 1, 1)
        answer = self.unet(sample, timestep).sample
        return UNet2DOutput(sample=noise_of(self.prediction, answer, sample, abar))
