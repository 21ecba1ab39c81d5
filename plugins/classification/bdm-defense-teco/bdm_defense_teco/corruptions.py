"""The fifteen corruptions by name, with five severities each."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from bdm_defense_teco import noise_and_blur, weather_and_digital
from bdm_defense_teco.params import Strengths

SEVERITIES = 5
Corruption = Callable[[Tensor, int, int], Tensor]
"""(pictures (N, C, H, W) in [0, 1], severity 1 to 10, seed) -> pictures of the same shape, perhaps beyond [0, 1]."""
CORRUPTIONS: dict[str, Corruption] = {
    "gaussian-noise": noise_and_blur.gaussian_noise,
    "shot-noise": noise_and_blur.shot_noise,
    "impulse-noise": noise_and_blur.impulse_noise,
    "defocus-blur": noise_and_blur.defocus_blur,
    "glass-blur": noise_and_blur.glass_blur,
    "motion-blur": noise_and_blur.motion_blur,
    "zoom-blur": noise_and_blur.zoom_blur,
    "snow": weather_and_digital.snow,
    "frost": weather_and_digital.frost,
    "fog": weather_and_digital.fog,
    "brightness": weather_and_digital.brightness,
    "contrast": weather_and_digital.contrast,
    "elastic": weather_and_digital.elastic,
    "pixelate": weather_and_digital.pixelate,
    "jpeg": weather_and_digital.jpeg,
}


def corrupted(pictures: Tensor, name: str, severity: int, seed: int, strengths: Strengths = "cifar-10-c") -> Tensor:
    """Pictures with a corruption, in [0, 1]; each as it would be alone.

    Args:
        pictures: (N, C, H, W) in [0, 1].
        name: one of :data:`CORRUPTIONS`.
        severity: 1 to 5.
        seed: of its noise.
        strengths: the set of the severities.

    >>> import torch
    >>> corrupted(torch.full((1, 1, 8, 8), 0.5), "brightness", 2, seed=0).unique().tolist()
    [0.6000000238418579]
    """
    place = severity + (SEVERITIES if strengths == "imagenet-c" else 0)
    return CORRUPTIONS[name](pictures, place, seed).clamp(0, 1)
