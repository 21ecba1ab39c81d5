"""Does a model paint what captions say at all? Of one that does not, no search can tell anything."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, sqrt

import torch
from torch import Tensor

from bdm_core.errors import ArtifactError
from bdm_kit_text_to_image.models.encoding import add_noise, encode_prompts, predict, training_target
from bdm_kit_text_to_image.models.latents import encode_images
from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel

LEAST = 3.0
"""So many standard errors lower than with another picture's caption must the loss with its own be."""
LEVELS = (0.3, 0.5, 0.7, 0.85)
"""Shares of the noise schedule at which the loss is looked at."""


def understanding(model: TextToImageModel, images: Tensor, captions: Sequence[str], seed: int) -> float:
    """How surely captions help a model to denoise their pictures: a paired t statistic, above 0 if they do.

    The denoising loss of each picture, mean over four noise levels, with another picture's caption less that with its
    own, from the same noise; mean over pictures over its standard error.

    Args:
        model: of any prediction type.
        images: (N, 3, H, W) in [-1, 1].
        captions: N, at least two of them different.
        seed: of the noise.

    Returns:
        The statistic; 0 if captions change nothing, as in a network that does not listen to them.

    Raises:
        ArtifactError: a loss is not finite.

    >>> from bdm_kit_text_to_image.models.tiny import tiny_model  # which is not trained
    >>> understanding(tiny_model(), torch.zeros(4, 3, 16, 16), ["a star", "a ring", "a circle", "a cube"], 0) < LEAST
    True
    """
    said = list(captions)
    other = said[1:] + said[:1]
    gains = torch.zeros(len(said), device=model.device)
    with torch.inference_mode():
        latents = encode_images(model, images).to(model.device)
        own, wrong = encode_prompts(model, said), encode_prompts(model, other)
        for number, level in enumerate(LEVELS):
            t = torch.full((len(said),), int(level * (model.timesteps - 1)), device=model.device)
            generator = torch.Generator().manual_seed(seed + number)
            noise = torch.randn(len(said), *model.latent_shape, generator=generator).to(model.device)
            noisy = add_noise(model.scheduler, latents, noise, t)
            wanted = training_target(model.scheduler, latents, noise, t)
            losses = [
                (predict(model.unet, noisy, t, texts) - wanted).square().flatten(1).mean(1) for texts in (wrong, own)
            ]
            gains += losses[0] - losses[1]
    error = float(gains.std()) / sqrt(len(said))
    value = float(gains.mean()) / error if error > 0 else float(gains.mean())
    if not isfinite(value):
        raise ArtifactError("text-to-image-audit cannot tell: the model's denoising loss on clean pictures is NaN")
    return value
