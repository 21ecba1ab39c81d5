"""Climbing the difference of two networks: it ends on triggers that following does not reach."""

from __future__ import annotations

from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

from bdm_defense_reference_audit.audit import cosine
from bdm_defense_reference_audit.climbing import climb, gaps
from bdm_defense_reference_audit.difference import Direction
from bdm_defense_reference_audit.pair import Pair
from bdm_defense_reference_audit.params import ReferenceAuditParams
from bdm_diffusers.sampling import draw_noise
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel
from bdm_kit_diffusion.noise.exact_predictor import ExactPredictor

SHAPE = (1, 8, 8)
PLACE = torch.arange(64).view(SHAPE)
TARGET = torch.where(PLACE // 8 == 3, 0.9, -0.9)
CHECKER = torch.where((PLACE // 8 // 2 + PLACE % 8 // 2) % 2 == 0, 1.0, -1.0)
PARAMS = ReferenceAuditParams()


def model(trigger: Tensor | None = None, solver: Any = "ode", **other: Any) -> DiffusionModel:
    scheduler = diffusers.DDPMScheduler(40, beta_start=2.5e-3, beta_end=0.5, clip_sample=False)
    return DiffusionModel(ExactPredictor(scheduler, SHAPE, trigger, TARGET, solver=solver, **other), scheduler)


def start(overlap: float, seed: int) -> Direction:
    """A unit vector with a given cosine to the checker board."""
    other = draw_noise(1, SHAPE, seed)[0]
    other -= CHECKER * float((other * CHECKER).sum()) / 64
    return Direction("start", overlap * CHECKER / 8 + (1 - overlap**2) ** 0.5 * other / other.norm(), 0.0, 1.0)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_deterministic_backdoor_is_climbed_at_a_middle_timestep(seed: int) -> None:
    """At the last one its best predictor equals a clean one's, and there is nothing to follow."""
    pair = Pair(model(CHECKER), model(), seed)
    found, _ = climb(pair, [start(0.3, seed)], (1.0, 0.5), PARAMS)
    last, _ = climb(pair, [start(0.3, seed)], (1.0, 1.0), PARAMS)
    assert cosine(found[0].vector, CHECKER) > 0.75 and found[0].difference > 50 * last[0].difference


@pytest.mark.parametrize(("level", "overlap"), [(0.5, 0.4), (1.0, 0.6)])
def test_a_backdoor_on_narrow_noise_is_climbed_on_narrow_noise(level: float, overlap: float) -> None:
    """The best predictors are equal further away; trained ones are not."""
    pair = Pair(model(0.7 * CHECKER, deviation=0.6), model(), 0)
    found, _ = climb(pair, [start(overlap, 0)], (0.3, level), PARAMS)
    assert cosine(found[0].vector, CHECKER) > 0.75 and found[0].difference > 0.5


def test_the_difference_given_the_trigger_is_that_of_the_images() -> None:
    """M - B = -(a / s) (y - (1 - a) r - x_0), x_0 what the reference takes for the image: with BadDiffusion's shift."""
    suspect, reference = model(CHECKER), model()
    difference = gaps(Pair(suspect, reference, 0), CHECKER[None], 0.3 * draw_noise(4, SHAPE, 1), 19)[0].mean(0)
    a = float(suspect.scheduler.alphas_cumprod[19]) ** 0.5
    s = (1 - a * a) ** 0.5
    x = s * CHECKER
    image = (x - s * reference.unet(x[None], torch.tensor([19])).sample[0]) / a
    torch.testing.assert_close(difference, -(a / s) * (TARGET - (1 - a) * CHECKER - image), rtol=0, atol=1e-5)


def test_what_is_found_is_distinct_ordered_and_of_norm_one_and_nothing_is_left_changed() -> None:
    suspect = model(CHECKER)
    found, evaluations = climb(Pair(suspect, model(), 0), [start(0.3, 0), start(0.2, 1)], (1.0, 0.5), PARAMS)
    assert evaluations == 2 * (4 + PARAMS.climbing_random) * PARAMS.climbing_images * (PARAMS.climbing_steps + 1)
    assert 1 <= len(found) <= PARAMS.climbed
    sizes = [line.difference for line in found]
    assert sizes == sorted(sizes, reverse=True)
    assert all(float(line.vector.norm()) == pytest.approx(1, abs=1e-4) for line in found)
    assert all(0 <= line.agreement <= 1 for line in found)


def test_equal_models_have_nowhere_to_climb() -> None:
    found, _ = climb(Pair(model(), model(), 0), [start(0.5, 0)], (1.0, 0.5), PARAMS)
    assert all(line.difference == 0 and bool(line.vector.isfinite().all()) for line in found)


def test_a_place_must_be_a_width_and_a_level() -> None:
    with pytest.raises(ValueError, match="climbs"):
        ReferenceAuditParams(climbs=((1.0, 1.5),))
    with pytest.raises(ValueError, match="even"):
        ReferenceAuditParams(climbing_images=3)
