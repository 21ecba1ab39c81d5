"""The iteration on the difference of two networks: it ends on the trigger, on its side, for every kind of backdoor."""

from __future__ import annotations

from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

from bdm_defense_reference_audit.audit import cosine
from bdm_defense_reference_audit.difference import Direction
from bdm_defense_reference_audit.following import follow, mean_differences
from bdm_defense_reference_audit.pair import Pair
from bdm_defense_reference_audit.params import ReferenceAuditParams
from bdm_defense_reference_audit.response import Shift, respond
from bdm_diffusers.sampling import draw_noise
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel
from bdm_kit_diffusion.noise.exact_predictor import ExactPredictor

SHAPE = (1, 8, 8)
PLACE = torch.arange(64).view(SHAPE)
TARGET = torch.where(PLACE // 8 == 3, 0.9, -0.9)
CHECKER = torch.where((PLACE // 8 // 2 + PLACE % 8 // 2) % 2 == 0, 1.0, -1.0)
PARAMS = ReferenceAuditParams()


def model(trigger: Tensor | None = None, solver: Any = "sde", **other: Any) -> DiffusionModel:
    scheduler = diffusers.DDPMScheduler(40, beta_start=2.5e-3, beta_end=0.5, clip_sample=False)
    return DiffusionModel(ExactPredictor(scheduler, SHAPE, trigger, TARGET, solver=solver, **other), scheduler)


def start(overlap: float, seed: int) -> Direction:
    """A unit vector with a given cosine to the checker board."""
    other = draw_noise(1, SHAPE, seed)[0]
    other -= CHECKER * float((other * CHECKER).sum()) / 64
    return Direction("start", overlap * CHECKER / 8 + (1 - overlap**2) ** 0.5 * other / other.norm(), 0.0, 1.0)


def test_the_mean_difference_in_the_triggers_mode_is_along_the_trigger() -> None:
    """M - B = (lambda - 1) r for a noise predictor, whatever the overlap, once the backdoor answers all the noise."""
    suspect, reference = model(CHECKER), model()
    noise = draw_noise(64, SHAPE, 0)
    means, shares = mean_differences(Pair(suspect, reference, 0), noise, torch.stack([0.9 * CHECKER, 1.4 * CHECKER]))
    assert [abs(cosine(mean, CHECKER)) for mean in means] == pytest.approx([1, 1], abs=0.01)
    assert bool((shares > 0.9).all())
    lengths = means.flatten(1).norm(dim=1)
    assert float(lengths[0] / lengths[1]) == pytest.approx(1, abs=0.15), "the length does not depend on the shift"


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("overlap", [0.3, -0.3])
def test_following_ends_on_the_trigger_with_its_sign(overlap: float, seed: int) -> None:
    line, _ = follow(Pair(model(CHECKER), model(), seed), [start(overlap, seed)], 1.0, 1.0, PARAMS)
    assert cosine(line.vector, CHECKER) > 0.95
    assert float(line.vector.norm()) == pytest.approx(1, abs=1e-4) and line.difference > 0.05 and line.agreement > 0.5


def test_best_predictors_of_deterministic_backdoors_do_not_differ_at_the_last_timestep() -> None:
    """lambda = 1: what networks show there comes from a reference that was never asked so far from the origin."""
    means, _ = mean_differences(Pair(model(CHECKER, "ode"), model(), 0), draw_noise(64, SHAPE, 0), CHECKER[None])
    assert float(means.norm()) / 8 < 0.05


@pytest.mark.parametrize("seed", [0, 1])
def test_narrow_noise_shows_a_backdoor_on_narrow_noise(seed: int) -> None:
    """TrojDiff's: usual noise around its trigger is not answered by it, narrow noise is, and leads to the trigger."""
    pair = Pair(model(0.7 * CHECKER, deviation=0.6), model(), seed)
    noise = draw_noise(64, SHAPE, 9)
    sizes = {}
    for width in (1.0, 0.3):
        means, _ = mean_differences(pair, width * noise, 0.7 * CHECKER[None])
        sizes[width] = float(means.norm()) / 8
    assert sizes[0.3] > 0.5 > 4 * sizes[1.0]
    line, _ = follow(pair, [start(0.6, seed)], 0.3, 0.5, PARAMS)
    assert cosine(line.vector, CHECKER) > 0.95
    found, _ = respond(
        pair,
        [Shift(0.7 * CHECKER, f"{width}", width) for width in (1.0, 0.3)],
        "ode",
        steps=20,
        samples=16,
    )
    assert found[0].excess < 1 < found[1].collapse


def test_equal_models_differ_nowhere() -> None:
    line, evaluations = follow(Pair(model(), model(), 0), [start(0.5, 0)], 1.0, 1.0, PARAMS)
    assert line.difference == 0 and bool(line.vector.isfinite().all())
    rounds, images = PARAMS.following_steps, PARAMS.following_images
    assert evaluations == 2 * images * 2 + rounds * 2 * images * 4
