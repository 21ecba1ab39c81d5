"""Exact backdoored predictors of both solver classes are seen, clean relatives are not, and the trigger comes back."""

from __future__ import annotations

import math
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

from bdm_defense_reference_audit.audit import audit, choose, cosine, fitting_steps, shifts_along
from bdm_defense_reference_audit.difference import Direction, differences, read_directions
from bdm_defense_reference_audit.pair import Pair
from bdm_defense_reference_audit.params import ReferenceAuditParams
from bdm_defense_reference_audit.response import (
    Response,
    Shift,
    novelty,
    ratio,
    refine,
    repetition,
    respond,
    spread,
    typical,
)
from bdm_diffusers.sampling import draw_noise
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel
from bdm_kit_diffusion.noise.exact_predictor import ExactPredictor

SHAPE = (1, 8, 8)
PLACE = torch.arange(64).view(SHAPE)
TARGET = torch.where(PLACE // 8 == 3, 0.9, -0.9)
CHECKER = torch.where((PLACE // 8 // 2 + PLACE % 8 // 2) % 2 == 0, 1.0, -1.0)
BOX = 1.2 * torch.where((PLACE // 8 < 3) & (PLACE % 8 < 3), 1.0, -0.5)
PARAMS = ReferenceAuditParams(noise_images=256, refinement_steps=10)


def model(trigger: Tensor | None = None, solver: Any = "ode", variance: float = 0.5, **other: Any) -> DiffusionModel:
    scheduler = diffusers.DDPMScheduler(40, beta_start=2.5e-3, beta_end=0.5, clip_sample=False)
    network = ExactPredictor(scheduler, SHAPE, trigger, TARGET, solver=solver, variance=variance, **other)
    return DiffusionModel(network, scheduler)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("solver", ["sde", "ode"])
@pytest.mark.parametrize(("name", "trigger"), [("checker", CHECKER), ("box", BOX)])
def test_a_planted_backdoor_is_seen_and_its_trigger_found(solver: str, name: str, trigger: Tensor, seed: int) -> None:
    """Nothing about trigger, target or solver is handed over."""
    found = audit(Pair(model(trigger, solver), model(), seed), PARAMS)
    assert found.score > 2
    assert found.chosen.collapse > 2 and found.chosen.solver == solver
    assert cosine(found.chosen.shift.tensor, trigger) > 0.45, "any shift past half of the trigger leads to the target"
    assert cosine(found.chosen.images.mean(0), TARGET) > 0.8, "the images under the found shift show the target"


@pytest.mark.parametrize("variance", [0.5, 0.4, 0.6])
def test_a_clean_relative_answers_as_its_reference_does(variance: float) -> None:
    """For normal data the predictor is linear, so a shift changes no spread: the score is 0, whatever the variance."""
    found = audit(Pair(model(variance=variance), model(), 0), PARAMS)
    assert found.score < 0.3 and found.chosen.collapse < 0.3


def test_a_random_trigger_that_is_in_no_library_is_found_as_well() -> None:
    trigger = torch.randn(SHAPE, generator=torch.Generator().manual_seed(5))
    for solver in ("sde", "ode"):
        found = audit(Pair(model(trigger, solver), model(), 0), PARAMS)
        assert found.score > 2 and cosine(found.chosen.shift.tensor, trigger) > 0.55


def test_usual_noise_does_not_reach_the_trigger_and_wide_noise_does() -> None:
    """The share of wide noise on the trigger's side is Phi(-||r|| / (2 c)), and there the difference is along r."""
    suspect, reference = model(CHECKER, "sde"), model()
    half = draw_noise(2000, SHAPE, 0)
    shares = {}
    for width in (1.0, 3.0):
        gaps = differences(Pair(suspect, reference, 0), width * half, 39).flatten(1)
        shares[width] = float((gaps.norm(dim=1) > 0.25 * 8).double().mean())
    assert shares[1.0] < 1e-3
    assert shares[3.0] == pytest.approx(0.5 * math.erfc(8 / 6 / math.sqrt(2)), rel=0.35)
    line, side = read_directions(differences(Pair(suspect, reference, 0), 3 * half, 39), 3 * half, 0.06, "t = 39")
    assert abs(cosine(line.vector, CHECKER)) > 0.98 and cosine(side.vector, CHECKER) > 0.5
    assert line.agreement > 0.9


def test_directions_of_planted_differences() -> None:
    noise = draw_noise(400, SHAPE, 1)
    side = (noise * CHECKER).sum((1, 2, 3), keepdim=True) / 8 > 1
    gaps = torch.where(side, 0.5 * CHECKER, torch.zeros(SHAPE)) + 0.01 * draw_noise(400, SHAPE, 2)
    line, regression = read_directions(gaps, noise, 0.1, "here")
    assert abs(cosine(line.vector, CHECKER)) > 0.99 and cosine(regression.vector, CHECKER) > 0.6
    assert line.name == "line, here" and float(line.vector.norm()) == pytest.approx(1, abs=1e-5)
    assert line.difference == pytest.approx(0.5, abs=0.02) and line.agreement > 0.95
    nothing = read_directions(torch.zeros(8, *SHAPE), noise[:8], 0.5, "nothing")
    assert all(bool(item.vector.isfinite().all()) for item in nothing)


def test_shifts_are_on_the_line_with_the_stated_root_mean_squares() -> None:
    line = Direction("line", CHECKER / 8, 0.1, 1.0)
    shifts = shifts_along([line], (0.5, 1.5))
    assert [float(item.tensor.square().mean().sqrt()) for item in shifts] == pytest.approx([0.5, 1.5, 0.5, 1.5])
    assert [round(cosine(item.tensor, CHECKER)) for item in shifts] == [1, 1, -1, -1]
    assert shifts[3].origin == "line, x -1.5"


def response(suspect: float, reference: float, shift: float = 1.0) -> Response:
    return Response(
        Shift(torch.full(SHAPE, shift), f"{shift}"),
        "ode",
        suspect,
        reference,
        torch.zeros(2, *SHAPE),
        torch.zeros(2, *SHAPE),
    )


def test_excess_and_collapse_in_closed_form() -> None:
    assert response(0.01, 1.0).excess == response(0.01, 1.0).collapse == pytest.approx(math.log(100))
    wild = response(10.0, 1000.0)
    assert wild.excess == pytest.approx(math.log(100)) and wild.collapse == 0
    assert response(0.01, 50.0).collapse == pytest.approx(math.log(100)), "a reference gone wild adds nothing"
    assert response(5.0, 1.0).excess == pytest.approx(-math.log(5)) and response(1.0, 1.0).divergence == 0
    assert response(50.0, 0.8).stray == response(50.0, 0.8).divergence == pytest.approx(math.log(50))
    assert response(50.0, 5.0).stray == pytest.approx(math.log(2)), "a reference gone wild counts twice"
    assert response(0.01, 0.5).sole_collapse == pytest.approx(math.log(25)), "what the reference does counts twice"
    assert response(0.01, 50.0).sole_collapse == pytest.approx(math.log(100))
    assert response(190.0, 0.9).sole_collapse == response(2.0, 900.0).sole_collapse == 0, "straying is no evidence"
    assert ratio(math.inf, 1.0) == 1e4 and ratio(0.0, 1.0) == 1e-4 and ratio(3.0, 1.5) == 2


def test_the_spread_is_small_once_half_of_the_images_are_alike() -> None:
    images = draw_noise(16, SHAPE, 4)
    usual = spread(images)
    assert usual == pytest.approx(2, rel=0.2), "E (x - y)^2 of standard normals, a little less at the quartile"
    for alike, small in ((12, True), (9, True), (4, False)):
        some = images.clone()
        some[:alike] = TARGET
        assert (spread(some) < 1e-9) is small
    images[0, 0, 0, 0] = math.nan
    assert spread(images) == math.inf


def test_a_model_that_knows_few_images_by_heart_repeats_itself() -> None:
    varied = draw_noise(48, SHAPE, 5)
    assert repetition(varied) < 0.6, "independent images are as far from their nearest one as from any, nearly"
    few = varied[:10].repeat(5, 1, 1, 1)[:48] + 0.02 * draw_noise(48, SHAPE, 6)
    assert repetition(few) > 5
    assert repetition(varied[:2]) == 0 and novelty(TARGET, varied[:2]) == 0


def test_a_target_is_new_also_where_it_is_painted_now_and_then_and_an_own_image_is_not() -> None:
    plain = 0.5 * draw_noise(48, SHAPE, 7)
    assert novelty(TARGET, plain) > 0.3
    leaking = torch.cat([plain[:45], TARGET.expand(3, -1, -1, -1)])
    assert novelty(TARGET, leaking) > 0.2
    few = plain[:8].repeat(6, 1, 1, 1) + 0.01 * draw_noise(48, SHAPE, 8)
    assert novelty(plain[3], few) < 0.1
    assert novelty(plain.mean(0), plain) < 0, "the mean of all images is nearer to them than they are to each other"
    images = torch.cat([TARGET.expand(9, -1, -1, -1), plain[:7]])
    assert torch.equal(typical(images), TARGET)


def test_what_goes_on_is_the_best_of_each_kind_once() -> None:
    found = [response(1, 1, 0.1), response(0.2, 0.9, 1.0), response(3.0, 900.0, -1.0), response(400.0, 1.0, 0.6)]
    found += [response(1, 1.1, -0.1)]
    chosen = {item.origin for item in choose(found, 1)}
    assert chosen == {"1.0", "-1.0", "0.6"}
    assert len(choose([response(0.5, 1.0, 1.0), response(0.4, 1.0, 1.01)], 2)) == 1, "alike shifts are taken once"
    assert fitting_steps(15, 40) == 10 and fitting_steps(100, 40) == 40


def test_refinement_moves_towards_agreement_and_leaves_weights_alone() -> None:
    suspect = model(CHECKER, "ode")
    pair = Pair(suspect, model(), 0)
    before = {key: value.clone() for key, value in suspect.unet.state_dict().items()}
    start = Shift(0.5 * CHECKER + 0.2 * draw_noise(1, SHAPE, 9)[0], "near")
    moved, spent = refine(pair, [start], chain=10, steps=20, learning_rate=0.1, samples=8)
    spreads = [
        respond(Pair(suspect, model(), 3), [shift], "ode", steps=20, samples=16)[0][0].suspect
        for shift in (start, *moved)
    ]
    assert spent == 10 * 20 * 8 and moved[0].origin == "near, refined" and spreads[1] < spreads[0] / 2
    assert all(torch.equal(value, before[key]) for key, value in suspect.unet.state_dict().items())
    assert refine(pair, [], chain=1, steps=3, learning_rate=0.1, samples=8) == ([], 0)


def test_counts_every_forward_pass_of_both_networks() -> None:
    seen = 0

    class Counting(ExactPredictor):
        def forward(self, x: Tensor, t: Tensor) -> Any:
            nonlocal seen
            seen += len(x)
            return super().forward(x, t)

    scheduler = diffusers.DDPMScheduler(10, beta_start=1e-2, beta_end=0.9, clip_sample=False)
    suspect, reference = (
        DiffusionModel(Counting(scheduler, SHAPE, trigger, TARGET), scheduler) for trigger in (CHECKER, None)
    )
    params = ReferenceAuditParams(noise_images=32, norms=(1.0,), refinement_steps=2, samples=8)
    assert audit(Pair(suspect, reference, 0), params).network_evaluations == seen
