"""Clipping of the states of sampling."""

from types import SimpleNamespace

import pytest
import torch

from bdm_core.testing import DefenseConformance
from bdm_diffusers.samplers import build_scheduler
from bdm_diffusers.sampling import SamplingOptions, draw_noise, sample, state_limit
from bdm_kit_diffusion.built_in import BUILTIN
from bdm_kit_diffusion.models.diffusion_model import load_model, save_model

MODEL = load_model(BUILTIN / "digits-tiny")
NOISE = draw_noise(4, MODEL.shape, 0)


class TestClip(DefenseConformance):
    plugin = "clip"
    max_change = 1.0

    def test_only_the_configuration_of_the_scheduler_changes(self, bench):
        repaired = self.repair(bench, informed=False).value
        changed = {name for name, digest in repaired.files.items() if bench.model.files.get(name) != digest}
        assert changed == {"scheduler/scheduler_config.json"}
        assert load_model(repaired).clip_states == 1.0 and load_model(bench.model).clip_states is None


def states(clip, name="ddpm"):
    """What the network is asked at, step after step."""
    seen = []

    def watch(x, t):
        seen.append(x.clone())
        return MODEL.unet(x, t)

    images = sample(
        watch,
        build_scheduler(name, MODEL.scheduler),
        NOISE,
        steps=10,
        seed=1,
        options=SamplingOptions(clip_states=clip),
    )
    return seen, images


def test_every_state_but_the_first_is_within_the_limit():
    for name in ("ddpm", "ddim", "dpm-solver-2", "unipc"):
        seen, images = states(1.0, name)
        assert torch.equal(seen[0], NOISE) and float(seen[0].abs().max()) > 1
        assert all(float(x.abs().max()) <= 1 + 1e-6 for x in [*seen[1:], images])
    unclipped, _ = states(None)
    assert max(float(x.abs().max()) for x in unclipped[1:]) > 1


def test_first_step_in_closed_form():
    """A DDIM step (2010.02502, equation 12) by hand, then clipped."""
    abar = MODEL.scheduler.alphas_cumprod.double()
    stride = len(abar) // 10
    t, u = len(abar) - 1, len(abar) - 1 - stride
    with torch.no_grad():
        prediction = MODEL.unet(NOISE, t).sample.double()
    estimate = (NOISE - (1 - abar[t]).sqrt() * prediction) / abar[t].sqrt()
    free = abar[u].sqrt() * estimate + (1 - abar[u]).sqrt() * prediction
    seen, _ = states(0.7, "ddim")
    torch.testing.assert_close(seen[1].double(), free.clamp(-0.7, 0.7), rtol=1e-3, atol=1e-3)
    assert bool((free.abs() > 0.7).any()) and bool((free.abs() < 0.7).any())


def test_a_limit_out_of_reach_changes_nothing():
    (_, loose), (_, none) = states(1e6), states(None)
    torch.testing.assert_close(loose, none)


@pytest.mark.parametrize("sigma", [0.5, 3.0])
def test_limit_is_in_the_schedulers_own_units(sigma):
    explicit = SimpleNamespace(init_noise_sigma=80.0, step_index=1, sigmas=torch.tensor([9.0, sigma, 0.0]))
    assert state_limit(explicit, 1.0) == pytest.approx((1 + sigma**2) ** 0.5)
    assert state_limit(SimpleNamespace(init_noise_sigma=1.0), 0.8) == 0.8


def test_euler_ends_within_the_limit():
    images = sample(
        MODEL.unet, build_scheduler("euler", MODEL.scheduler), NOISE, steps=10, options=SamplingOptions(clip_states=1.0)
    )
    assert float(images.abs().max()) <= 1 + 1e-6 and float(images.std()) > 0.05


def test_the_limit_survives_saving(tmp_path):
    model = load_model(BUILTIN / "digits-tiny")
    model.scheduler.register_to_config(clip_states=0.5)
    save_model(model, tmp_path)
    again = load_model(tmp_path)
    assert again.clip_states == 0.5
    assert "clip_states" not in build_scheduler("ddim", again.scheduler).config
