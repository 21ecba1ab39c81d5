"""The baselines of detection, against normal tables and planted cases."""

import math
from statistics import NormalDist

import diffusers
import pytest
import torch

from bdm_diffusers.sampling import draw_noise
from bdm_kit_diffusion.inversion.baselines import (
    input_baselines,
    likelihood_ratio,
    mean_pixel,
    mean_pixel_threshold,
    start_features,
)
from bdm_kit_diffusion.inversion.starts import starting_points
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel

SHAPE = (1, 8, 8)
CHECKER = ((torch.arange(8)[:, None] + torch.arange(8)[None]) % 2 * 2.0 - 1).expand(SHAPE).contiguous()


def test_likelihood_ratio_equals_torch_distributions():
    inputs, trigger = draw_noise(5, SHAPE, 0), 0.7 * CHECKER
    deviation = torch.linspace(0.2, 1.4, 64).view(SHAPE)
    under = torch.distributions.Normal(trigger.double(), deviation.double()).log_prob(inputs.double())
    clean = torch.distributions.Normal(0.0, 1.0).log_prob(inputs.double())
    torch.testing.assert_close(likelihood_ratio(inputs, trigger, deviation), (under - clean).flatten(1).sum(1))
    assert likelihood_ratio(inputs, torch.zeros(SHAPE)).abs().max() == 0


def test_error_rates_of_the_likelihood_ratio_are_those_of_two_normals():
    noise, trigger = draw_noise(8000, SHAPE, 1), 2.0 * CHECKER / CHECKER.norm()
    expected = NormalDist().cdf(1.0)
    hits = (likelihood_ratio(noise + trigger, trigger) > 0).double().mean()
    passed = (likelihood_ratio(noise, trigger) <= 0).double().mean()
    assert float(hits) == pytest.approx(expected, abs=0.015) and float(passed) == pytest.approx(expected, abs=0.015)


def test_mean_pixel_flags_the_stated_share_of_clean_noise_and_sees_no_zero_mean_trigger():
    noise, threshold = draw_noise(8000, SHAPE, 2), mean_pixel_threshold(0.05)
    share = lambda inputs: float((mean_pixel(inputs) > threshold).double().mean())  # noqa: E731
    assert threshold == pytest.approx(1.95996, abs=1e-4)
    assert share(noise) == pytest.approx(0.05, abs=0.01)
    assert share(noise + 3 * CHECKER) == pytest.approx(0.05, abs=0.01)
    assert share(noise - 1) > 0.999


def test_a_start_that_overlaps_with_the_trigger_is_a_detector_already():
    starts = {name: starting_points(SHAPE, 0)[name] for name in ("-U(0,1)", "U(-1,1)")}
    noise = draw_noise(200, SHAPE, 3)
    found = input_baselines(torch.cat([noise, noise - 1]), starts, 0.01)
    assert found["start point only: -U(0,1)"]["flagged"] == pytest.approx(0.5, abs=0.02)
    assert found["zero trigger"]["flagged"] == 0 and set(found["zero trigger"]["scores"]) == {0.0}
    assert len(found["mean pixel"]["scores"]) == 400


def test_start_features_see_the_collapse_of_a_planted_start():
    """A network that paints one picture from dark noise and follows the noise elsewhere."""

    class Planted(torch.nn.Module):
        config = {"in_channels": 1, "sample_size": 8}

        def __init__(self, scheduler):
            super().__init__()
            self.abar = scheduler.alphas_cumprod
            self.dark, self.calls = None, 0

        def forward(self, x, t):
            self.calls += len(x)
            if t == len(self.abar) - 1:
                self.dark = x.mean((1, 2, 3), keepdim=True) < -0.5
            wanted = torch.where(self.dark, CHECKER, x.clamp(-1, 1))
            return (x - self.abar[t].sqrt() * wanted) / (1 - self.abar[t]).sqrt()

    scheduler = diffusers.DDPMScheduler(10, beta_start=1e-2, beta_end=0.9)
    network = Planted(scheduler)
    starts = {"dark": torch.full(SHAPE, -1.0), "bright": torch.full(SHAPE, 1.0)}
    model = DiffusionModel(network, scheduler)
    found, evaluations = start_features(model, starts, ("ddim",), samples=8, seed=0)
    scores = {item.start: item.score for item in found}
    assert scores["dark"] > 5 and scores["bright"] < 1
    assert evaluations == network.calls == 3 * 8 * 10
    assert all(math.isfinite(item.total_variation_ratio) for item in found)
