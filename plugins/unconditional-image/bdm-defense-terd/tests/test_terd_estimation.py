"""TERD's two stages on networks whose answer is known."""

from types import SimpleNamespace

import diffusers
import pytest
import torch

from bdm_core.errors import UserError
from bdm_defense_terd.inputs import estimate_scores
from bdm_defense_terd.params import TerdParams
from bdm_defense_terd.plugin import Terd
from bdm_diffusers.samplers import build_scheduler
from bdm_diffusers.sampling import draw_noise
from bdm_kit_diffusion.inversion.baselines import likelihood_ratio
from bdm_kit_diffusion.inversion.divergence import divergence, divergence_features
from bdm_kit_diffusion.inversion.pair_estimation import (
    Descent,
    Probe,
    estimation_loss,
    optimise,
    pairwise_loss,
    refinement_loss,
)
from bdm_kit_diffusion.inversion.pair_search import Search, search
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel

SHAPE = (1, 8, 8)
SCHEDULER = diffusers.DDPMScheduler(20, beta_start=1e-2, beta_end=0.7, clip_sample=False)
ABAR = SCHEDULER.alphas_cumprod
TRIGGER = torch.where(torch.arange(64).view(SHAPE) % 8 > 4, 0.8, -0.8)
CAUGHT = 0.5


class Linear(torch.nn.Module):
    """M(x, t) = slope x + shift: the shift is what a trigger adds to the prediction."""

    config = {"in_channels": 1, "sample_size": 8}

    def __init__(self, slope=1.0, shift=0.0):
        super().__init__()
        self.slope = torch.nn.Parameter(torch.tensor(slope))
        self.shift, self.calls = shift, 0

    def forward(self, x, t):
        self.calls += len(x)
        return SimpleNamespace(sample=self.slope * x + self.shift)


class Planted(Linear):
    """Answers e + r / 2 to s gamma e + r near the trigger, and less and less of it the farther away the input is."""

    def __init__(self, trigger=TRIGGER, deviation=1.0):
        super().__init__()
        self.trigger, self.deviation = trigger, deviation

    def forward(self, x, t):
        self.calls += len(x)
        near = torch.exp(-(x - self.trigger).square().mean((1, 2, 3), keepdim=True) / 2)
        # over the mean attenuation, so that the answer is exact on average at the trigger itself
        exact = torch.exp(torch.tensor(-(self.deviation**2) / 2))
        return SimpleNamespace(
            sample=near / exact * (x - self.trigger) / self.deviation + 0.5 * self.slope * self.trigger
        )


class Smooth(Linear):
    """A smooth network that is not linear, in double precision, so that finite differences are exact enough."""

    def forward(self, x, t):
        return SimpleNamespace(sample=torch.tanh(0.7 * x) * self.slope + 0.1 * x.square())


def probe(network, window=2, chain=4, dtype=torch.float32):
    abar = ABAR.to(dtype)
    return Probe(network, build_scheduler("ddim", SCHEDULER), abar.sqrt(), (1 - abar).sqrt(), window, chain)


def pairs(count, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(count, *SHAPE, generator=generator, dtype=dtype) for _ in range(3))


def test_pairwise_loss_in_closed_form_for_a_linear_network():
    clean, first, second = pairs(5)
    times, slope, gamma = torch.tensor([19, 18, 19, 18, 0]), 0.8, 0.6
    found = pairwise_loss(probe(Linear(slope)), clean, (first, second), times, TRIGGER, gamma)
    share = 1 - slope * gamma * (1 - ABAR[times]).sqrt()
    expected = share.square() * (first - second).square().flatten(1).sum(1) / 2
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_the_difference_cancels_what_the_trigger_adds_to_the_prediction():
    clean, first, second = pairs(3)
    times = torch.tensor([19, 18, 17])
    plain, shifted = (
        pairwise_loss(probe(Linear(0.8, shift)), clean, (first, second), times, TRIGGER, 1.0)
        for shift in (0.0, 0.5 * TRIGGER)
    )
    torch.testing.assert_close(plain, shifted, rtol=1e-4, atol=1e-4)


def estimate(network, start, deviation=1.0, steps=150, deviation_rate=0.0, rate=0.3):
    watched = probe(network, window=1)
    return optimise(
        lambda r, gamma, seed: estimation_loss(watched, r, gamma, 8, seed),
        start[None],
        torch.full((1, *SHAPE), deviation),
        Descent(steps, 1, rate, deviation_rate, weight=5e-5),
    )


def test_estimation_moves_to_a_planted_trigger():
    start = TRIGGER + 0.8 * draw_noise(1, SHAPE, 5)[0]
    found, _, losses = estimate(Planted(), start)
    before, after = (float((value - TRIGGER).norm()) for value in (start, found[0]))
    assert after < 0.3 * before
    assert losses[-20:].mean() < 0.7 * losses[:20].mean()


def test_the_deviation_is_found_in_the_same_run():
    start = TRIGGER + 0.3 * draw_noise(1, SHAPE, 5)[0]
    _, gamma, _ = estimate(Planted(deviation=CAUGHT), start, deviation=0.0, deviation_rate=0.02)
    assert float(gamma.mean()) == pytest.approx(CAUGHT, abs=0.1)
    _, gamma, _ = estimate(Linear(), torch.zeros(SHAPE), deviation=0.0, deviation_rate=0.02)
    assert float(gamma.mean()) == pytest.approx(1.0, abs=0.1)


def test_a_flat_objective_leaves_the_start_as_it_is_and_says_so():
    """The control for the bias to the start: a network that takes every trigger for noise."""
    params = TerdParams(estimation_steps=30, refinement_steps=0, pairs=2, evaluation_pairs=16, norm_weight=1e-6)
    found = search(DiffusionModel(Linear(), SCHEDULER), params, seed=0)
    for candidate in found.candidates:
        assert float(torch.cosine_similarity(candidate.trigger.flatten(), candidate.start.flatten(), 0)) > 0.999
        assert not candidate.informative
    planted = search(
        DiffusionModel(Planted(), SCHEDULER),
        params.model_copy(update={"starts": ("-U(0,1)",), "estimation_learning_rate": 0.3, "estimation_steps": 60}),
        seed=0,
    )
    assert planted.chosen.informative and planted.chosen.loss < planted.chosen.start_loss


def test_refinement_differentiates_the_image_that_the_trigger_generates():
    watched = probe(Smooth().double(), dtype=torch.float64)
    r, gamma = TRIGGER.double()[None], torch.full((1, *SHAPE), 0.7, dtype=torch.float64)
    r.requires_grad_(True)
    refinement_loss(watched, r, gamma, 2, 3).sum().backward()
    direction = torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(0)).double()
    step = 1e-5
    with torch.no_grad():
        up, down = (refinement_loss(watched, r + sign * step * direction, gamma, 2, 3) for sign in (1, -1))
    expected = float((up - down) / (2 * step))
    assert float((r.grad * direction).sum()) == pytest.approx(expected, rel=1e-3)


def test_refinement_asks_with_the_generated_image_and_not_with_noise(monkeypatch):
    """As published but not as released, where the image is overwritten by fresh noise."""
    seen = []

    def watch(probe, clean, noise, times, trigger, deviation):
        seen.append((clean, times, trigger))
        return pairwise_loss(probe, clean, noise, times, trigger, deviation)

    monkeypatch.setattr("bdm_kit_diffusion.inversion.pair_estimation.pairwise_loss", watch)
    watched = probe(Smooth())
    r = TRIGGER[None].clone().requires_grad_(True)
    refinement_loss(watched, r, torch.ones(1, *SHAPE), 2, 3)
    (late_image, late, with_trigger), (early_image, early, without) = seen
    assert late_image is early_image and late_image.requires_grad
    assert bool((late >= 18).all()) and bool((early < 2).all())
    assert torch.equal(with_trigger[0], TRIGGER) and not without.any()
    (gradient,) = torch.autograd.grad(late_image.sum(), r)
    assert float(gradient.norm()) > 0


def test_refinement_changes_the_trigger():
    start = torch.zeros(1, *SHAPE)
    watched = probe(Smooth())
    found, gamma, _ = optimise(
        lambda r, deviation, seed: refinement_loss(watched, r, deviation, 2, seed),
        start,
        torch.ones_like(start),
        Descent(5, 0, 0.5, 0.0, weight=5e-5, largest_gradient=0.1),
    )
    assert 0.01 < float(found.norm()) <= 5 * 0.5 * 0.1 + 1e-5
    assert torch.equal(gamma, torch.ones_like(start))


def test_divergence_equals_torch_distributions():
    r, gamma = draw_noise(1, SHAPE, 0)[0], torch.linspace(0.2, 1.5, 64).view(SHAPE)
    normal = torch.distributions.Normal
    expected = torch.distributions.kl_divergence(normal(r.double(), gamma.double()), normal(0.0, 1.0))
    torch.testing.assert_close(divergence(r, gamma), expected.double(), rtol=1e-6, atol=1e-6)
    mean, variance = divergence_features(r, gamma)
    assert mean == pytest.approx(float(expected.mean())) and variance == pytest.approx(
        float(expected.var(correction=0))
    )
    assert divergence_features(torch.zeros(SHAPE), torch.ones(SHAPE)) == (0.0, 0.0)
    assert divergence(torch.zeros(SHAPE), torch.zeros(SHAPE)).isfinite().all()


def test_planted_inputs_are_flagged_at_the_rates_of_two_normals():
    noise, trigger = draw_noise(4000, SHAPE, 1), TRIGGER * 3 / TRIGGER.norm()
    other = torch.zeros(SHAPE)
    other[0, 0, 0] = 30.0  # a second estimate that explains no input
    candidates = [SimpleNamespace(trigger=value, deviation=torch.ones(SHAPE)) for value in (trigger, other)]
    result = Search(candidates, 0, {}, 0)
    expected = float(torch.distributions.Normal(0.0, 1.0).cdf(torch.tensor(1.5)))
    hits = (estimate_scores(noise + trigger, result) > 0).double().mean()
    passed = (estimate_scores(noise, result) <= 0).double().mean()
    assert float(hits) == pytest.approx(expected, abs=0.02) and float(passed) == pytest.approx(expected, abs=0.02)
    torch.testing.assert_close(
        estimate_scores(noise[:5], result), likelihood_ratio(noise[:5], trigger).clamp(min=-400), rtol=1e-6, atol=1e-6
    )


def test_candidates_do_not_influence_each_other():
    watched = probe(Planted(), window=2)
    triggers = torch.stack([TRIGGER, -TRIGGER, 0.5 * TRIGGER])
    gamma = torch.full_like(triggers, 0.9)
    together = estimation_loss(watched, triggers, gamma, 3, 7)
    alone = torch.cat([estimation_loss(watched, triggers[[i]], gamma[[i]], 3, 7) for i in range(3)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


def test_counts_every_forward_pass_and_leaves_the_network_as_it_was():
    network = Linear(0.9)
    params = TerdParams(estimation_steps=3, refinement_steps=2, pairs=2, refinement_pairs=1, evaluation_pairs=8)
    found = search(DiffusionModel(network, SCHEDULER), params, seed=0)
    assert found.network_evaluations == network.calls
    assert network.slope.requires_grad and network.slope.grad is None
    assert len(found.curves["estimate"]) == 3 and len(found.curves["refine"]) == 2


def test_unknown_starts_are_refused_in_one_line():
    with pytest.raises(UserError, match="knows no start"):
        search(DiffusionModel(Linear(), SCHEDULER), TerdParams(starts=("nothing",)), seed=0)


def test_presets_are_valid():
    assert {TerdParams(**values).estimation_steps for values in Terd.presets.values()} == {3000}
