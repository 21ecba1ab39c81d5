"""The basin of attraction of the inversion, on the exact minimiser of a backdoor's loss: no training involved.

At t = T - 1 a clean input is almost pure noise, x = eps + tau, and a poisoned one eps + r: two unit normals at distance
|r|. The optimal predictor answers for the clean mode on one side of the plane half way between them,

    <x, r> = |r|^2 / 2  (+ log((1 - p) / p) for a share p of poisoned images),

and for the poisoned mode on the other. A start delta = c r plus something orthogonal to r has <x, r> ~ N(c |r|^2,
|r|^2), so that a share Phi(|r| (c - 1/2)) of the noise images lies beyond the plane. With lambda = 1/2 the objective is
|c - share| |r| / 2 along r: its zeros are tau = 0 (the trivial one of every model), r, and the switch between them.
Where the share is below c, the slope leads to 0, where it is above, to r. Theory thus puts the switch at about c = 1/2.
The inversion has only 8 or 16 noise images, and momentum: the switch is a band about that value, and an end near r may
be shorter than r, since the middle zero is one too. What does not depend on chance lies outside of that band.
"""

from __future__ import annotations

import math

import diffusers
import pytest
import torch
from torch import Tensor

from bdm_defense_elijah.params import ElijahParams
from bdm_diffusers.sampling import draw_noise
from bdm_kit_diffusion.inversion import shift_search as search_module
from bdm_kit_diffusion.inversion.shift_search import inversion_noise, search
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel
from bdm_kit_diffusion.noise.exact_predictor import ExactPredictor

SHAPE = (1, 8, 8)
ROWS, COLUMNS = torch.arange(64).view(SHAPE) // 8, torch.arange(64).view(SHAPE) % 8
TARGET = torch.where(ROWS == 3, 1.0, -1.0)
TRIGGERS = {
    "checker": torch.where((ROWS + COLUMNS) % 2 == 0, 1.0, -1.0),
    "white box": torch.where((ROWS > 4) & (COLUMNS > 4), 1.5, -1.5),
    "random": draw_noise(1, SHAPE, 0)[0],
}
LOWER, UPPER = 0.2, 0.75
"""Below the one the trivial solution, above the other the trigger, for every trigger and seed."""
SEEDS = range(3)
PARAMS = ElijahParams(scales=(0.5,), inversion_steps=(50,), stretches=(1.0,))
SCHEDULER = diffusers.DDPMScheduler(40, beta_start=2.5e-3, beta_end=0.5, clip_sample=False)


def planted(trigger: Tensor) -> DiffusionModel:
    """An exact backdoor for ancestral samplers, a tenth of the paths poisoned."""
    return DiffusionModel(ExactPredictor(SCHEDULER, SHAPE, trigger, TARGET, solver="sde"), SCHEDULER)


def end(monkeypatch: pytest.MonkeyPatch, trigger: Tensor, start: Tensor, seed: int) -> tuple[float, float]:
    """Where the plugin's search ends from one start: |tau| / |r| and the cosine of tau and r."""
    monkeypatch.setattr(search_module, "starts_of", lambda *_, **__: {"the start": start})
    (found,) = search(planted(trigger), PARAMS, seed, "cpu").candidates
    tau, r = found.trigger.flatten(), trigger.flatten()
    return float(tau.norm() / r.norm()), float(torch.cosine_similarity(tau, r, 0))


def near(trigger: Tensor, share: float, seed: int, size: float = 0.1) -> Tensor:
    """``share`` times the trigger, plus noise of standard deviation ``size`` that is orthogonal to the trigger."""
    noise = size * draw_noise(1, SHAPE, 100 + seed)[0]
    return (share - (noise * trigger).sum() / trigger.square().sum()) * trigger + noise


@pytest.mark.parametrize("name", TRIGGERS)
def test_half_of_the_noise_images_change_mode_at_half_the_trigger(name: str) -> None:
    """The premise: the share of the noise images beyond the plane is Phi(|r| (c - 1/2)), up to the prior."""
    trigger = TRIGGERS[name]
    network = planted(trigger).unet
    noise, last = inversion_noise(SHAPE, 2000, 7, antithetic=True), torch.tensor(39)
    size = float(trigger.norm())
    for share in (0.0, 0.25, 0.4, 0.5, 0.6, 0.75, 1.0):
        shift = network(noise + share * trigger, last).sample.mean(0)
        along = float((shift * trigger).sum()) / size**2
        beyond = (share - along) / float(network.rho[-1] - network.shift[-1])
        expected = 0.5 * (1 + math.erf((size * (share - 0.5) - math.log(9) / size) / math.sqrt(2)))
        assert beyond == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", TRIGGERS)
def test_the_switch_between_the_trivial_solution_and_the_trigger(
    monkeypatch: pytest.MonkeyPatch, name: str, seed: int
) -> None:
    trigger = TRIGGERS[name]
    for share in (-0.5, 0.0, LOWER):
        assert end(monkeypatch, trigger, near(trigger, share, seed), seed)[0] < 0.1
    for share in (UPPER, 1.0):
        length, cosine = end(monkeypatch, trigger, near(trigger, share, seed), seed)
        assert cosine > 0.9 and 0.4 < length < 1.2


def test_the_switch_lies_about_half_the_trigger(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over triggers and seeds: few starts in the lower part of the band reach the trigger, most in the upper."""

    def reached(share: float) -> float:
        ends = [end(monkeypatch, r, near(r, share, seed), seed) for r in TRIGGERS.values() for seed in SEEDS]
        return sum(cosine > 0.9 and length > 0.4 for length, cosine in ends) / len(ends)

    assert reached(0.3) < 0.4 and reached(0.6) > 0.8


@pytest.mark.parametrize("name", TRIGGERS)
def test_only_the_overlap_of_the_start_counts(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A start may be as far from the trigger as the noise is: what is orthogonal to r shrinks, <delta, r> decides."""
    trigger = TRIGGERS[name]
    assert end(monkeypatch, trigger, near(trigger, 0.1, 5, size=1.0), 5)[0] < 0.3
    assert end(monkeypatch, trigger, near(trigger, 0.9, 5, size=1.0), 5)[1] > 0.9
