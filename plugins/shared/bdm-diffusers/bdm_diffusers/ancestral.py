"""The ancestral chain of DDPM, to the bit as diffusers' DDPMScheduler computes it, at a fifth of its cost.

Ho et al. (2006.11239, eq. 7 and 11): with x0 = (x_t - sqrt(1 - abar_t) eps) / sqrt(abar_t),

    x_{t-1} = sqrt(abar_{t-1}) beta_t / (1 - abar_t) x0 + sqrt(alpha_t) (1 - abar_{t-1}) / (1 - abar_t) x_t + sigma_t z.

The scheduler looks every coefficient up in every step and draws z image by image. Here the coefficients of a chain are
made once, and every image's generator draws the noise of many steps at a time: the same numbers, in the same order.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

LARGEST_NOISE = 2**23
"""So many numbers, 32 MiB, are drawn ahead for a batch."""
VARIANCES = ("fixed_small", "fixed_large")
"""What the scheduler's ``variance_type`` may be: the deviation's square is a function of the betas."""


class AncestralChain:
    """The coefficients of one chain.

    Args:
        scheduler: a DDPMScheduler that :meth:`fits`, with its timesteps set.

    >>> from diffusers import DDPMScheduler
    >>> scheduler = DDPMScheduler(num_train_timesteps=10)
    >>> scheduler.set_timesteps(10)
    >>> chain = AncestralChain(scheduler)
    >>> noise = StepNoise([torch.Generator().manual_seed(0)], (1, 4, 4), chain.draws)
    >>> chain.step(0, torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4), noise).shape
    torch.Size([1, 1, 4, 4])
    """

    def __init__(self, scheduler: Any) -> None:
        steps = scheduler.timesteps.cpu()
        levels = scheduler.alphas_cumprod.cpu()
        reached = torch.cat([levels[steps[1:]], scheduler.one.cpu().view(1)])
        level = levels[steps]
        alpha = level / reached
        beta = 1 - alpha
        variance = torch.clamp((1 - reached) / (1 - level) * (1 - level / reached), min=1e-20)
        if scheduler.config.variance_type == "fixed_large":
            variance = beta
        coefficients = (
            (1 - level) ** 0.5,
            level**0.5,
            (reached**0.5 * beta) / (1 - level),
            alpha**0.5 * (1 - reached) / (1 - level),
            variance**0.5,
        )
        self._steps = list(zip(*(values.unbind() for values in coefficients), strict=True))
        self._noisy = (steps > 0).tolist()
        self._range = float(scheduler.config.clip_sample_range) if scheduler.config.clip_sample else None
        self.draws = sum(self._noisy)

    @staticmethod
    def fits(scheduler: Any) -> bool:
        """Whether this is a DDPMScheduler for eps-predictions, with a fixed variance and without thresholding."""
        if type(scheduler).__name__ != "DDPMScheduler":
            return False
        config = scheduler.config
        fixed = config.variance_type in VARIANCES and config.variance_type == scheduler.variance_type
        return fixed and config.prediction_type == "epsilon" and not config.thresholding

    def step(self, number: int, prediction: Tensor, x: Tensor, noise: StepNoise) -> Tensor:
        """x of the next timestep.

        Args:
            number: of the step: 0, 1, ...
            prediction: of the noise, (N, C, H, W).
            x: (N, C, H, W).
            noise: of this chain's steps.
        """
        deviation, root, of_image, of_state, sigma = self._steps[number]
        image = (x - deviation * prediction) / root
        if self._range is not None:
            image = image.clamp(-self._range, self._range)
        mean = of_image * image + of_state * x
        return mean + sigma * noise.next(x.device) if self._noisy[number] else mean


class StepNoise:
    """Standard normal noise for the steps of a batch, drawn ahead for every image from its own generator.

    Args:
        generators: of the N images, on the CPU.
        shape: (C, H, W).
        draws: how many steps take noise.

    >>> ahead, one = (StepNoise([torch.Generator().manual_seed(7)], (1, 4, 4), draws) for draws in (3, 1))
    >>> torch.equal(ahead.next(), one.next())
    True
    """

    def __init__(self, generators: list[torch.Generator], shape: Sequence[int], draws: int) -> None:
        self._generators, self._shape, self._left = generators, tuple(shape), draws
        self._drawn: list[Tensor] = []

    def next(self, device: torch.device | str = "cpu") -> Tensor:
        """The noise of the next step, (N, C, H, W), float32."""
        if not self._drawn:
            size = max(1, torch.Size(self._shape).numel())
            count = max(1, min(self._left, LARGEST_NOISE // (size * max(1, len(self._generators)))))
            if not _draws_join(size, count):
                count = 1
            ahead = torch.empty(len(self._generators), count, *self._shape)
            for generator, place in zip(self._generators, ahead, strict=True):
                torch.randn(place.shape, generator=generator, out=place)
            self._drawn = list(ahead.to(device).unbind(1))[::-1]
            self._left -= count
        return self._drawn.pop()


@functools.cache
def _draws_join(size: int, count: int) -> bool:
    """Whether ``count`` draws of ``size`` numbers are one draw of all of them.

    PyTorch draws 16 at a time, so that it holds for multiples of 16; but that is its own affair.
    """
    one, many = torch.Generator().manual_seed(0), torch.Generator().manual_seed(0)
    parts = [torch.randn(size, generator=many) for _ in range(count)]
    return count == 1 or torch.equal(torch.randn(count, size, generator=one).flatten(), torch.cat(parts))
