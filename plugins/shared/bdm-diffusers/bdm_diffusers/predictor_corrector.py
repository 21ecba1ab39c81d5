"""Sampling of variance-exploding models: predictor and corrector (Song et al., 2011.13456, algorithm 2), or the ODE.

With M the predicted noise, so that the score is -M / s, a level s is left for the next one u by

    reverse diffusion   x <- x - (s^2 - u^2) / s M + sqrt(s^2 - u^2) z      (equation 46; no noise in the last step)
    probability flow    x <- x - (s - u) M                                  (equation 13, one Euler step)

and, before that, refined at its own level, as often as asked for, by Langevin's

    x <- x - e / s M + sqrt(2 e) z,    e = 2 (snr sqrt(d) s / ||M||)^2      (algorithm 5, d = C H W).

The reverse-diffusion predictor keeps the path of a backdoor with R = s / (s + u), the ODE's step that with R = 1. The
corrector keeps neither: it pulls x towards s R r although s r belongs there.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import ConfigMixin, SchedulerMixin
from diffusers.configuration_utils import register_to_config
from diffusers.schedulers.scheduling_utils import SchedulerOutput
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from bdm_diffusers.score_network import sigmas


class PredictorCorrectorScheduler(SchedulerMixin, ConfigMixin):  # type: ignore[misc]
    """A scheduler with diffusers' interface, for networks that predict eps in the kit's units.

    A timestep appears corrector_steps + 1 times in a row: first the corrections at its level, then the prediction.

    Args of the constructor: num_train_timesteps, sigma_min and sigma_max as of ScoreSdeVeScheduler (in the model's own
    units); corrector_steps and snr of the corrector; deterministic: the probability flow, without any noise.
    """

    order = 1

    @register_to_config
    def __init__(
        self,
        num_train_timesteps: int = 2000,
        sigma_min: float = 0.01,
        sigma_max: float = 1348.0,
        corrector_steps: int = 0,
        snr: float = 0.15,
        deterministic: bool = False,
    ) -> None:
        self.levels = sigmas(self).float()
        self.init_noise_sigma = float(self.levels[-1])
        self.set_timesteps(num_train_timesteps)

    def set_timesteps(self, num_inference_steps: int, device: str | torch.device | None = None) -> None:
        """Spread the steps over 0..T-1, from T-1 on; the time in sigma is geometric, so they are spread evenly."""
        last = self.config["num_train_timesteps"] - 1
        chosen = torch.linspace(last, 0, num_inference_steps, dtype=torch.float64).round().long()
        self.repeats = 1 + (0 if self.config["deterministic"] else self.config["corrector_steps"])
        self.timesteps = chosen.repeat_interleave(self.repeats).to(device)
        self.sigmas = torch.cat([self.levels[chosen], torch.zeros(1)])
        self.calls = 0

    @property
    def step_index(self) -> int:
        """How many predictions are done: x is at the noise level ``sigmas[step_index]``."""
        return self.calls // self.repeats

    def scale_model_input(self, sample: Tensor, timestep: Any = None) -> Tensor:
        """The network takes x as it is."""
        return sample

    def step(
        self, model_output: Tensor, timestep: Any, sample: Tensor, generator: list[torch.Generator] | None = None
    ) -> SchedulerOutput:
        """One correction or prediction, in the order of ``timesteps``.

        model_output: eps, (N, C, H, W); sample: x, likewise; generator: one for each image.
        """
        level = float(self.levels[int(timestep)])
        below = float(self.sigmas[self.step_index + 1])
        predict = self.calls % self.repeats == self.repeats - 1
        self.calls += 1
        if self.config["deterministic"]:
            return SchedulerOutput(sample - (level - below) * model_output)
        noise = randn_tensor(sample.shape, generator=generator, device=sample.device, dtype=sample.dtype)
        if not predict:
            size = model_output.flatten(1).norm(dim=1).clamp(min=1e-12).view(-1, 1, 1, 1)
            rate = 2 * (self.config["snr"] * sample[0].numel() ** 0.5 * level / size) ** 2
            return SchedulerOutput(sample - rate / level * model_output + (2 * rate).sqrt() * noise)
        variance = level**2 - below**2
        mean = sample - variance / level * model_output
        return SchedulerOutput(mean + variance**0.5 * noise if below else mean)
