"""A text-conditional UNet under given prompts, as a network of latents: what defenses of the noise examine."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from diffusers.models.unets.unet_2d import UNet2DOutput
from torch import Tensor, nn

from bdm_diffusers.noise_predictor import noise_of
from bdm_kit_text_to_image.models.encoding import Conditioning, encode_prompts, predict
from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel
from bdm_kit_text_to_image.training.prompt_cache import PromptCache


class PromptedUNet(nn.Module):
    """``network(x, t).sample`` is the noise that the model's UNet sees under one prompt, without guidance.

    Args:
        model: its UNet is shared, its text encoder asked once.
        prompt: the same for all rows; by default the empty one, which is a condition that the UNet was trained with.

    >>> from bdm_kit_text_to_image.models.tiny import tiny_model
    >>> network = PromptedUNet(tiny_model())
    >>> with torch.no_grad():
    ...     network(torch.zeros(2, 4, 8, 8), torch.tensor([3, 9])).sample.shape
    torch.Size([2, 4, 8, 8])
    """

    def __init__(self, model: TextToImageModel, prompt: str = "") -> None:
        super().__init__()
        self.unet = model.unet
        with torch.no_grad():
            self.texts = encode_prompts(model, [prompt]).detach()
        self.reading = Reading(model)

    @property
    def config(self) -> Any:
        """The UNet's configuration."""
        return self.unet.config

    def forward(self, sample: Tensor, timestep: Tensor | int) -> UNet2DOutput:
        """The noise in ``sample`` (N, C, h, w) at a timestep or (N,) of them."""
        return UNet2DOutput(sample=self.reading.noise(self.unet, sample, timestep, self.texts.to(sample.device)))


class Reading:
    """Reads a UNet's answer as noise, whatever the model was trained to predict.

    Args:
        model: its scheduler says what the UNet predicts.
    """

    def __init__(self, model: TextToImageModel) -> None:
        self.prediction = str(model.scheduler.config.get("prediction_type", "epsilon"))
        self.abar = model.scheduler.alphas_cumprod.float()

    def noise(self, unet: nn.Module, noisy: Tensor, timestep: Tensor | int, texts: Conditioning) -> Tensor:
        """The noise (N, C, h, w) in latents at a timestep or (N,) of them, under N prompts or one for all."""
        times = torch.as_tensor(timestep, device=noisy.device)
        answer = predict(unet, noisy, times, texts)
        return noise_of(self.prediction, answer, noisy, self.abar.to(noisy.device)[times.long()].view(-1, 1, 1, 1))


class CaptionReader:
    """Asks UNets of one architecture about rows of captioned latents, each row under its own caption.

    Args:
        model: its text encoder, frozen.
        captions: N texts, one for each row.
    """

    def __init__(self, model: TextToImageModel, captions: Sequence[str]) -> None:
        self.cache = PromptCache(model, list(captions))
        self.reading = Reading(model)

    def __call__(self, unet: nn.Module, noisy: Tensor, times: Tensor, rows: Tensor) -> Tensor:
        """The noise (n, C, h, w) in latents at (n,) timesteps under the captions of rows (n,)."""
        return self.reading.noise(unet, noisy, times, self.cache.rows(rows).to(noisy.device))


def noise_scheduler(model: TextToImageModel) -> Any:
    """A copy of the model's scheduler for a network that predicts noise, as :class:`PromptedUNet` does."""
    scheduler = copy.deepcopy(model.scheduler)
    scheduler.register_to_config(prediction_type="epsilon")
    return scheduler
