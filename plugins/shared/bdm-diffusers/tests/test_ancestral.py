"""The ancestral chain against diffusers' own scheduler, to the bit, and the noise against draws one by one."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from torch import Tensor

from bdm_diffusers import ancestral
from bdm_diffusers.ancestral import AncestralChain, StepNoise
from bdm_diffusers.samplers import build_scheduler
from bdm_diffusers.sampling import SamplingOptions, draw_noise, image_generators, sample

SHAPES = [(1, 8, 8), (3, 4, 4), (3, 5, 5), (1, 1, 3)]


def network(x: Tensor, t: Tensor) -> Tensor:
    return (x * (1 + t / 100)).sin() + 0.1 * x.mean((1, 2, 3), keepdim=True)


def by_diffusers(scheduler: Any, x: Tensor, steps: int, seed: int = 3) -> Tensor:
    scheduler = copy.deepcopy(scheduler)
    scheduler.set_timesteps(steps)
    generators = image_generators(seed, len(x))
    for t in scheduler.timesteps:
        x = scheduler.step(network(x, t), t, x, generator=generators).prev_sample
    return x


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("steps", [1, 7, 50])
@pytest.mark.parametrize("variance", ["fixed_small", "fixed_large"])
def test_chain_is_that_of_diffusers(shape: tuple[int, ...], steps: int, variance: str) -> None:
    scheduler = build_scheduler("ddpm", DDPMScheduler(50, variance_type=variance))
    noise = draw_noise(3, shape, seed=0)
    assert AncestralChain.fits(scheduler)
    expected = by_diffusers(scheduler, noise, steps)
    assert torch.equal(sample(network, scheduler, noise, steps=steps, seed=3), expected)
    one_by_one = sample(network, scheduler, noise, steps=steps, seed=3, options=SamplingOptions(batch_size=1))
    torch.testing.assert_close(one_by_one, expected, rtol=1e-4, atol=1e-5)


def test_clipped_chain_is_that_of_diffusers() -> None:
    scheduler = DDPMScheduler(20, timestep_spacing="trailing", clip_sample=True, clip_sample_range=0.5)
    noise = draw_noise(3, (1, 8, 8), seed=0)
    options = SamplingOptions(clip_sample=True)
    expected = by_diffusers(scheduler, noise, 20)
    assert torch.equal(sample(network, scheduler, noise, steps=20, seed=3, options=options), expected)
    assert not torch.equal(sample(network, scheduler, noise, steps=20, seed=3), expected)


@pytest.mark.parametrize("most", [1, 200, 2**23])
@pytest.mark.parametrize("shape", SHAPES)
def test_noise_is_drawn_as_one_by_one(monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], most: int) -> None:
    monkeypatch.setattr(ancestral, "LARGEST_NOISE", most)
    noise = StepNoise(image_generators(5, 4), shape, draws=9)
    alone = image_generators(5, 4)
    for _ in range(9):
        expected = torch.stack([torch.randn(shape, generator=generator) for generator in alone])
        assert torch.equal(noise.next(), expected)


def test_whether_draws_join_is_found_out() -> None:
    assert ancestral._draws_join(64, 5)
    assert not ancestral._draws_join(75, 5)


@pytest.mark.parametrize(
    "scheduler",
    [
        DDIMScheduler(10),
        DDPMScheduler(10, prediction_type="v_prediction"),
        DDPMScheduler(10, variance_type="fixed_small_log"),
        DDPMScheduler(10, variance_type="learned_range"),
        DDPMScheduler(10, thresholding=True),
    ],
    ids=["another scheduler", "another prediction", "logarithm", "learned", "thresholding"],
)
def test_other_chains_are_left_to_diffusers(scheduler: Any) -> None:
    assert not AncestralChain.fits(scheduler)


def test_gradients_flow_through_the_chain() -> None:
    scheduler = DDPMScheduler(5)
    scheduler.set_timesteps(5)
    chain, x = AncestralChain(scheduler), torch.ones(1, 1, 4, 4, requires_grad=True)
    noise = StepNoise(image_generators(0, 1), (1, 4, 4), chain.draws)
    chain.step(0, 0.1 * x, x, noise).sum().backward()
    assert x.grad is not None and bool((x.grad > 0).all())
