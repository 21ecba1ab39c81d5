"""The trojan sampler against the kit's sampler and against an oracle; its noise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler
from torch import Tensor

from bdm_attack_trojdiff.attack import trojan_noise
from bdm_attack_trojdiff.params import TrojDiffParams
from bdm_attack_trojdiff.trojan_sampling import TrojanNoise, trojan_sample
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_diffusers.samplers import build_scheduler
from bdm_diffusers.sampling import SamplingOptions, draw_noise, sample

SHAPE = (1, 8, 8)
BASE = DDPMScheduler(num_train_timesteps=40, beta_start=0.002, beta_end=0.3, clip_sample=False)
FORMS = [("ddpm", 40, 0.0), ("ddim", 10, 0.0), ("ddim", 20, 0.7)]
ZERO, ONE = torch.zeros(SHAPE), torch.ones(SHAPE)
PLAIN = TrojanNoise(ZERO, ONE)


def trojan(model: Any, scheduler: Any, start: Tensor, noise: TrojanNoise, *, steps: int, **values: Any) -> Tensor:
    ctx = Context(Path(), Path(), seed=5)
    return trojan_sample(ctx, model, scheduler, start, noise, steps, SamplingOptions(**values))


def gaussian_model(x: Tensor, t: Tensor) -> Tensor:
    """The exact noise prediction for images N(0.3, 0.5^2) a pixel."""
    abar = BASE.alphas_cumprod[t].reshape(-1, *[1] * (x.ndim - 1)) if t.ndim else BASE.alphas_cumprod[t]
    return (1 - abar).sqrt() * (x - abar.sqrt() * 0.3) / (abar * 0.25 + 1 - abar)


def trojan_oracle(target: Tensor, mean: Tensor, deviation: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """Solves x_t = a y + s (gamma eps + mu) for eps."""

    def predict(x: Tensor, t: Tensor) -> Tensor:
        abar = BASE.alphas_cumprod[t]
        return (x - abar.sqrt() * target - (1 - abar).sqrt() * mean) / ((1 - abar).sqrt() * deviation)

    return predict


@pytest.mark.parametrize(("name", "steps", "eta"), FORMS)
@pytest.mark.parametrize("clip", [False, True])
def test_without_shift_it_is_the_kit_s_sampler(name: str, steps: int, eta: float, clip: bool) -> None:
    noise, scheduler = draw_noise(7, SHAPE, 1), build_scheduler(name, BASE)
    ours = trojan(gaussian_model, scheduler, noise, PLAIN, steps=steps, batch_size=3, eta=eta, clip_sample=clip)
    theirs = sample(
        gaussian_model, scheduler, noise, steps=steps, seed=5, options=SamplingOptions(eta=eta, clip_sample=clip)
    )
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-5)


@pytest.mark.parametrize(("name", "steps", "eta"), FORMS)
def test_an_oracle_s_samples_are_the_target(name: str, steps: int, eta: float) -> None:
    target = torch.linspace(-1, 1, 64).view(SHAPE)
    mean, deviation = 0.4 * torch.linspace(1, -1, 64).view(SHAPE), torch.full(SHAPE, 0.6)
    start = deviation * draw_noise(4, SHAPE, 2) + mean
    images = trojan(
        trojan_oracle(target, mean, deviation),
        build_scheduler(name, BASE),
        start,
        TrojanNoise(mean, deviation),
        steps=steps,
        eta=eta,
    )
    torch.testing.assert_close(images, target.expand_as(images), rtol=0, atol=1e-4)


def test_the_agnostic_target_needs_no_own_sampler() -> None:
    """A prediction shifted by mu takes DDIM where the trojan sampler takes the prediction itself (gamma = 1)."""
    mean, scheduler, start = (
        torch.linspace(-1, 1, 64).view(SHAPE),
        build_scheduler("ddim", BASE),
        draw_noise(3, SHAPE, 4),
    )
    ours = trojan(gaussian_model, scheduler, start + mean, TrojanNoise(mean, ONE), steps=20)
    plain = sample(lambda x, t: gaussian_model(x, t) + mean, scheduler, start + mean, steps=20)
    torch.testing.assert_close(ours, plain, rtol=0, atol=2e-5)


def test_a_small_deviation_shrinks_the_noise_of_every_step() -> None:
    """A prediction linear in x makes the whole chain linear in its noise: a tenth of it gives a tenth of the image."""
    quiet = torch.full(SHAPE, 0.1)
    start, scheduler = draw_noise(8, SHAPE, 0), build_scheduler("ddpm", BASE)

    def level(t: Tensor) -> Tensor:
        return (1 - BASE.alphas_cumprod[t]).sqrt()

    loud = trojan(lambda x, t: 0.5 * x / level(t), scheduler, start, PLAIN, steps=40)
    soft = trojan(lambda x, t: 5.0 * x / level(t), scheduler, 0.1 * start, TrojanNoise(ZERO, quiet), steps=40)
    torch.testing.assert_close(soft, 0.1 * loud, rtol=0, atol=1e-5)


def test_other_samplers_are_refused() -> None:
    with pytest.raises(UserError, match="agnostic"):
        trojan(gaussian_model, build_scheduler("heun", BASE), draw_noise(1, SHAPE, 0), PLAIN, steps=10)


def test_patch_changes_its_own_pixels_only() -> None:
    noise = trojan_noise(TrojDiffParams(trigger_type="patch", gamma=0.1, patch_size=3), SHAPE)
    assert torch.equal(noise.mean[:, -3:, -3:], torch.full((1, 3, 3), 0.9))
    torch.testing.assert_close(noise.deviation[:, -3:, -3:], torch.full((1, 3, 3), 0.1))
    inside = torch.zeros(SHAPE, dtype=torch.bool)
    inside[:, -3:, -3:] = True
    assert not noise.mean[~inside].any() and bool((noise.deviation[~inside] == 1).all())


def test_blend_has_the_published_mean_and_deviation() -> None:
    noise = trojan_noise(TrojDiffParams(trigger="checker", gamma=0.6), SHAPE)
    torch.testing.assert_close(noise.mean.abs(), torch.full(SHAPE, 0.4))
    torch.testing.assert_close(noise.deviation, torch.full(SHAPE, 0.6))
    agnostic = trojan_noise(TrojDiffParams(trigger="checker", variant="agnostic"), SHAPE)
    assert bool((agnostic.mean.abs() == 1).all()) and bool((agnostic.deviation == 1).all())


@pytest.mark.parametrize(
    ("shape", "side"), [((3, 32, 32), 3), ((3, 64, 64), 6), ((1, 8, 8), 5), ((3, 16, 16), 3), ((1, 64, 64), 6)]
)
def test_the_default_patch_has_as_many_values_as_published(shape: tuple[int, int, int], side: int) -> None:
    noise = trojan_noise(TrojDiffParams(trigger_type="patch"), shape)
    assert int((noise.deviation < 1).sum()) == shape[0] * side**2


def test_a_patch_larger_than_the_image_is_refused() -> None:
    with pytest.raises(UserError, match="patch_size=9"):
        trojan_noise(TrojDiffParams(trigger_type="patch", patch_size=9), SHAPE)
