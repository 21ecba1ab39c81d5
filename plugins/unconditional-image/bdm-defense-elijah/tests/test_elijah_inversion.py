"""Trigger inversion on networks whose answer is known, and the features of generated sets."""

import math
from types import SimpleNamespace

import pytest
import torch

from bdm_core.errors import UserError
from bdm_kit_diffusion.inversion.shift_search import inversion_noise
from bdm_kit_diffusion.inversion.starts import starting_points
from bdm_kit_diffusion.inversion.trigger_inversion import InversionOptions, distinct, invert
from bdm_torch.diversity import pixel_distances, total_variation, uniformity

SHAPE = (1, 4, 4)
TRIGGER = torch.where(torch.arange(16) % 4 < 2, 3.0, -1.0).view(SHAPE)


class Backdoored(torch.nn.Module):
    """The optimal predictor at the last timestep: x, less half the trigger where the trigger is the likelier mode."""

    def __init__(self, trigger=TRIGGER, share=0.5):
        super().__init__()
        self.trigger, self.share = torch.nn.Parameter(trigger.clone()), share

    def forward(self, x, t):
        assert bool((t == 9).all()) and len(t) == len(x)
        overlap = ((x - self.trigger / 2) * self.trigger).flatten(1).sum(1)
        mode = torch.sigmoid(overlap).view(-1, 1, 1, 1)
        return SimpleNamespace(sample=x - (1 - self.share) * mode * self.trigger)


def run(starts, scale=0.5, network=None, steps=200, batch=16, **options):
    noise = inversion_noise(SHAPE, batch, seed=3, antithetic=True)
    return invert(
        network or Backdoored(), starts, torch.full((len(starts),), scale), noise, 9, InversionOptions(steps, **options)
    )


def test_finds_the_trigger_from_a_start_that_overlaps():
    found = run(torch.stack([0.8 * TRIGGER, TRIGGER.clamp(min=0)])).triggers
    for tau in found:
        assert float((tau - TRIGGER).norm() / TRIGGER.norm()) < 0.1


def test_falls_to_zero_from_a_start_that_does_not():
    found = run(torch.stack([-TRIGGER, 0.1 * TRIGGER, torch.zeros(SHAPE)])).triggers
    assert float(found.flatten(1).norm(dim=1).max()) < 0.2 * float(TRIGGER.norm())


def test_clean_model_has_only_zero():
    starts = torch.stack(list(starting_points(SHAPE, 0).values()))
    found = run(starts, network=Backdoored(torch.zeros(SHAPE))).triggers
    assert float(found.flatten(1).norm(dim=1).max()) < 0.4


def test_the_objective_is_flat_for_deterministic_backdoors_and_clean_models():
    """With R_T = 1 and lambda = 1 every tau solves the equation: nothing can be found."""
    starts = torch.stack([TRIGGER, torch.ones(SHAPE), -torch.ones(SHAPE)])
    for network in (Backdoored(share=1.0), Backdoored(torch.zeros(SHAPE))):
        result = run(starts, scale=1.0, network=network, steps=5)
        assert float(result.losses.max()) < 1e-5


def test_mean_of_antithetic_noise_does_not_bias_the_solution():
    biased = inversion_noise(SHAPE, 8, seed=3, antithetic=False)
    clean = Backdoored(torch.zeros(SHAPE))
    found = invert(clean, torch.zeros(1, *SHAPE), torch.tensor([0.5]), biased, 9, InversionOptions(200)).triggers[0]
    # M(eps + tau) = eps + tau, so mean(eps) + tau = tau / 2 has the solution tau = -2 mean(eps)
    torch.testing.assert_close(found, -2 * biased.mean(0), atol=0.1, rtol=0)
    assert inversion_noise(SHAPE, 8, seed=3, antithetic=True).mean(0).abs().max() < 1e-7


def test_candidates_do_not_influence_each_other_and_batches_do_not_matter():
    starts = torch.stack([0.8 * TRIGGER, torch.ones(SHAPE), -TRIGGER])
    together = run(starts, steps=20)
    alone = torch.cat([run(start[None], steps=20).triggers for start in starts])
    torch.testing.assert_close(together.triggers, alone, atol=1e-4, rtol=0)
    split = run(starts, steps=20, batch_size=16)
    torch.testing.assert_close(together.triggers, split.triggers, atol=1e-4, rtol=0)
    assert together.network_evaluations == 20 * 3 * 16 and together.losses.shape == (20, 3)


def test_objective_in_closed_form():
    network, tau = Backdoored(share=0.0), torch.full((1, *SHAPE), 0.3)
    noise = inversion_noise(SHAPE, 6, seed=1, antithetic=False)
    first = invert(network, tau, torch.tensor([0.7]), noise, 9, InversionOptions(1)).losses[0, 0]
    answer = network(noise + tau, torch.full((6,), 9)).sample.mean(0).detach()
    assert math.isclose(float(first), float((answer - 0.7 * tau[0]).abs().mean()), rel_tol=1e-5)


def test_leaves_the_network_as_it_was():
    network = Backdoored().train()
    run(torch.ones(1, *SHAPE), network=network, steps=3)
    assert network.training and network.trigger.requires_grad and network.trigger.grad is None


def test_shapes_are_checked():
    with pytest.raises(UserError, match="starts"):
        invert(Backdoored(), torch.zeros(2, *SHAPE), torch.ones(1), torch.zeros(4, *SHAPE), 9, InversionOptions(1))


def test_distinct_keeps_the_best_of_each_group():
    near = torch.zeros(1, 1, 4)
    far = torch.full((1, 1, 4), 3.0)
    candidates = torch.stack([near, far, near + 0.01, far + 0.02])
    assert distinct(candidates, torch.tensor([0.3, 0.2, 0.1, 0.4])) == [2, 1]


def test_pixel_distances_equal_pairwise_means():
    images = torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    table = pixel_distances(images)
    for i in range(5):
        for j in range(5):
            assert math.isclose(float(table[i, j]), float(((images[i] - images[j]) ** 2).mean()), rel_tol=1e-5)


def test_uniformity_without_trimming_is_the_mean_distance():
    table = pixel_distances(torch.randn(6, 1, 4, 4, generator=torch.Generator().manual_seed(0)))
    assert math.isclose(uniformity(table, trim=0), float(table.sum() / 30), rel_tol=1e-9)


def test_trimming_ignores_images_that_missed_the_target():
    images = torch.zeros(16, 1, 4, 4)
    images[:3] = torch.randn(3, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    table = pixel_distances(images)
    assert uniformity(table) == 0 and uniformity(table, trim=0) > 0.1
    with pytest.raises(UserError):
        uniformity(table[:4, :4], trim=2)


def test_total_variation_of_a_checker_and_a_constant():
    rows = torch.arange(4)
    checker = ((rows[:, None] + rows[None]) % 2 * 2.0 - 1).expand(2, 1, 4, 4)
    assert total_variation(checker) == 2 * 24  # 12 neighbours down, 12 across, each 2 apart
    assert total_variation(torch.ones(2, 3, 4, 4)) == 0
