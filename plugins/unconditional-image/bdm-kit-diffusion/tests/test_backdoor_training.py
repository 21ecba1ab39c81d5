"""The loss of a backdoor against an oracle that knows every poisoned sample."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from diffusers import DDPMScheduler
from torch import Tensor, nn

from bdm_core.errors import UserError
from bdm_diffusers.coefficients import PoisonSchedule, poison_schedule
from bdm_kit_diffusion.poison.backdoor_training import backdoor_loss
from bdm_kit_diffusion.poison.poisoning import PoisonedSet
from bdm_torch.draws import Draw

SHAPE = (1, 8, 8)
STEPS = 40


@pytest.fixture
def scheduler() -> DDPMScheduler:
    return DDPMScheduler(num_train_timesteps=STEPS, beta_start=0.002, beta_end=0.3)


def all_poisoned() -> PoisonedSet:
    trigger = torch.linspace(-1, 1, 64).view(SHAPE)
    target = torch.linspace(1, -0.5, 64).view(SHAPE)
    return PoisonedSet(torch.zeros(6, *SHAPE), torch.ones(6, dtype=torch.bool), trigger, torch.ones(1, 8, 8), target)


class Oracle(nn.Module):
    """Solves x_t = a y + s k eps + rho r for eps and answers eps + R r, with its own formulas for a, s, rho and R."""

    def __init__(self, poisoned: PoisonedSet, scheduler: DDPMScheduler, psi: float, k: float = 1.0) -> None:
        super().__init__()
        self.poisoned, self.scheduler, self.psi, self.k = poisoned, scheduler, psi, k

    def forward(self, x: Tensor, t: Tensor) -> SimpleNamespace:
        alphas = 1 - torch.linspace(0.002, 0.3, STEPS, dtype=torch.float64)
        abar = alphas.cumprod(0)
        a, s = abar[t].sqrt().view(-1, 1, 1, 1), (1 - abar[t]).sqrt().view(-1, 1, 1, 1)
        root = alphas[t].sqrt().view(-1, 1, 1, 1)
        shift = (s / (1 + root)) if self.psi == 1 else torch.zeros_like(s)
        rho = 1 - a if self.psi == 1 else s
        noise = (x.double() - a * self.poisoned.target - rho * self.poisoned.trigger) / (s * self.k)
        return SimpleNamespace(sample=(noise + shift * self.poisoned.trigger).float())


def test_the_oracle_of_baddiffusion_has_no_loss(scheduler: DDPMScheduler) -> None:
    poisoned = all_poisoned()
    loss = backdoor_loss(poisoned, scheduler, poison_schedule(scheduler.alphas_cumprod, "bad", "sde"))
    assert float(loss(Oracle(poisoned, scheduler, psi=1), Draw(0, 0, 32))) < 1e-9


def test_the_oracle_of_trojdiff_has_no_loss(scheduler: DDPMScheduler) -> None:
    poisoned = all_poisoned()
    share = (1 - scheduler.alphas_cumprod).sqrt()
    schedule = PoisonSchedule(share, torch.zeros(STEPS), "ode")
    loss = backdoor_loss(poisoned, scheduler, schedule, noise_scale=torch.full(SHAPE, 0.25))
    assert float(loss(Oracle(poisoned, scheduler, psi=0, k=0.25), Draw(0, 0, 32))) < 1e-9


def test_a_wrong_coefficient_costs_its_square(scheduler: DDPMScheduler) -> None:
    poisoned = all_poisoned()
    right = poison_schedule(scheduler.alphas_cumprod, "bad", "sde")
    wrong = PoisonSchedule(right.rho, right.R + 0.5, "sde")
    value = float(backdoor_loss(poisoned, scheduler, wrong)(Oracle(poisoned, scheduler, psi=1), Draw(0, 0, 32)))
    assert value == pytest.approx(0.25 * float(poisoned.trigger.square().mean()), rel=1e-4)


def test_clean_rows_train_as_usual(scheduler: DDPMScheduler) -> None:
    """With a constant answer of 0 the loss of clean rows is the mean square of the noise alone."""
    poisoned = all_poisoned()
    clean = PoisonedSet(
        poisoned.images, torch.zeros(6, dtype=torch.bool), poisoned.trigger, poisoned.mask, poisoned.target
    )
    loss = backdoor_loss(clean, scheduler, poison_schedule(scheduler.alphas_cumprod, "bad", "sde"), torch.zeros(SHAPE))

    class Silent(nn.Module):
        def forward(self, x: Tensor, t: Tensor) -> SimpleNamespace:
            return SimpleNamespace(sample=torch.zeros_like(x))

    draw = Draw(0, 0, 32)
    draw.timesteps(STEPS)
    noise = draw.normal(*SHAPE)
    assert float(loss(Silent(), Draw(0, 0, 32))) == pytest.approx(float(noise.square().mean()), rel=1e-6)


def test_models_that_predict_something_else_are_refused(tmp_path: Path, scheduler: DDPMScheduler) -> None:
    other = DDPMScheduler(num_train_timesteps=STEPS, prediction_type="v_prediction")
    schedule = poison_schedule(scheduler.alphas_cumprod, "bad", "sde")
    with pytest.raises(UserError, match="v_prediction"):
        backdoor_loss(all_poisoned(), other, schedule)
    with pytest.raises(UserError, match="timesteps"):
        backdoor_loss(all_poisoned(), DDPMScheduler(num_train_timesteps=7), schedule)
