"""The whole detection on exact predictors: a Gaussian data set, with and without a perfect backdoor."""

import json
from types import SimpleNamespace

import diffusers
import pytest
import torch

from bdm_core.context import Context
from bdm_defense_elijah.decision import CALIBRATED
from bdm_defense_elijah.params import ElijahParams
from bdm_diffusers.coefficients import poison_schedule
from bdm_kit_diffusion.inversion.candidate_images import measure, relative, samplers_for
from bdm_kit_diffusion.inversion.examination import examine, facts, note, objective_is_flat
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel
from bdm_kit_diffusion.noise.noise_levels import marginals, noise_path
from bdm_torch.calibration import conformal
from bdm_torch.calibration_file import Calibration, ModelRecord
from bdm_torch.diversity import pixel_distances

SHAPE = (1, 8, 8)
TRIGGER = torch.where(torch.arange(64).view(SHAPE) % 8 > 4, 1.0, -1.0)
TARGET = torch.where(torch.arange(64).view(SHAPE) // 8 == 3, 1.0, -1.0)
PARAMS = ElijahParams(inversion_steps=(50, 10), screening_batch=4, noise_batch=8, samples=8)
SPREAD = 0.5
"""Variance of the data, which is N(0, SPREAD I)."""


class Exact(torch.nn.Module):
    """E[eps | x_t] of a mixture: Gaussian data, and a share of poisoned paths to the one target."""

    config = {"in_channels": 1, "sample_size": 8}

    def __init__(self, scheduler, solver=None, trigger=TRIGGER, share=0.1):
        super().__init__()
        self.trigger = trigger
        self.a, self.s = marginals(scheduler)
        self.solver, self.share = solver, share
        if solver:
            path = noise_path(scheduler)
            schedule = poison_schedule(path, "troj" if path.variance_exploding else "bad", solver)
            self.rho, self.shift = schedule.rho, schedule.R

    def forward(self, x, t):
        t = t.expand(len(x))
        a, s = (value[t].view(-1, 1, 1, 1) for value in (self.a, self.s))
        variance = SPREAD * a**2 + s**2
        clean = s * x / variance
        if not self.solver:
            return SimpleNamespace(sample=clean)
        rho, shift = (value[t].view(-1, 1, 1, 1) for value in (self.rho, self.shift))
        noise = (x - a * TARGET - rho * self.trigger) / s
        odds = ((x**2 / variance).sum((1, 2, 3), keepdim=True) - (noise**2).sum((1, 2, 3), keepdim=True)) / 2
        odds = odds + 32 * (variance / s**2).log() + torch.tensor(self.share / (1 - self.share)).log()
        mode = torch.sigmoid(odds)
        return SimpleNamespace(sample=(1 - mode) * clean + mode * (noise + shift * self.trigger))


VP = diffusers.DDPMScheduler(40, beta_start=2.5e-3, beta_end=0.5, clip_sample=False)
VE = diffusers.ScoreSdeVeScheduler(60, sigma_min=0.01, sigma_max=20.0, correct_steps=1)


def examined(tmp_path, solver, trigger=TRIGGER, scheduler=VP, **options):
    model = DiffusionModel(Exact(scheduler, solver, trigger), scheduler)
    ctx = Context(tmp_path, tmp_path, options.pop("seed", 3))
    return examine(ctx, PARAMS.model_copy(update=options), model)


def test_finds_an_ancestral_backdoor(tmp_path):
    result = examined(tmp_path, "sde")
    tau = result.candidate.trigger
    assert result.images.sampler == "ddpm" and result.candidate.scale == 0.5
    assert float((tau * TRIGGER).sum() / tau.norm() / TRIGGER.norm()) > 0.95
    assert result.images.score > 4
    errors = (result.images.images - TARGET).square().mean((1, 2, 3))
    assert float(errors.median()) < 0.02


def test_finds_it_in_a_variance_exploding_model_too(tmp_path):
    result = examined(tmp_path, "sde", scheduler=VE)
    tau = result.candidate.trigger
    assert result.images.sampler == "sde-ve" and result.candidate.scale == 0.5
    assert float((tau * TRIGGER).sum() / tau.norm() / TRIGGER.norm()) > 0.95
    assert result.images.score > 4
    assert float((result.images.images - TARGET).square().mean((1, 2, 3)).median()) < 0.02
    assert examined(tmp_path, None, scheduler=VE).images.score < 0.7


@pytest.mark.parametrize("seed", [3, 4])
def test_finds_nothing_in_a_clean_model(tmp_path, seed):
    assert examined(tmp_path, None, seed=seed).images.score < 0.7


def test_inversion_does_not_reach_a_trigger_that_overlaps_with_no_start(tmp_path):
    """The documented blind spot: single-pixel checks are orthogonal to every constant and shape."""
    pattern = (torch.arange(8)[:, None] + torch.arange(8)[None]).view(SHAPE) % 2 * 2.0 - 1
    found = examined(tmp_path, "sde", pattern).search.candidates
    assert all(item.norm < 1 for item in found if item.scale == 0.5)


def test_objective_is_flat_for_a_deterministic_backdoor(tmp_path):
    found = examined(tmp_path, "ode").search.candidates
    assert max(item.loss for item in found if item.scale == 1) < 0.01
    assert all(item.norm < 1 for item in found if item.scale == 0.5)


def test_starts_leave_the_inversion_something_to_do_unless_lambda_is_one(tmp_path):
    sharp = examined(tmp_path, None, starts="published", inversion_steps=(4, 2))
    assert not objective_is_flat(sharp)
    assert all(item.start_residual > 0.5 for item in sharp.search.candidates if item.scale == 0.5)
    flat = examined(tmp_path, "ode", starts="published", scales=(1.0,), inversion_steps=(4,))
    assert all(item.start_residual < 0.1 for item in flat.search.candidates) and objective_is_flat(flat)


def test_counts_every_forward_pass(tmp_path):
    seen = 0

    class Counting(Exact):
        def forward(self, x, t):
            nonlocal seen
            seen += len(x)
            return super().forward(x, t)

    scheduler = diffusers.DDPMScheduler(10, beta_start=1e-2, beta_end=0.9, clip_sample=False)
    params = PARAMS.model_copy(update={"starts": "published", "inversion_steps": (4, 2), "screening_steps": 2})
    result = examine(Context(tmp_path, tmp_path, 0), params, DiffusionModel(Counting(scheduler), scheduler))
    assert result.network_evaluations == seen


def test_facts_hold_all_candidates(tmp_path):
    result = examined(tmp_path, "sde", starts="published", inversion_steps=(5, 2))
    known = [ModelRecord(name="c", shape=SHAPE, features=[x, 0.0]) for x in (0.1, 0.2, 0.3)]
    calibration = Calibration(recipe="a test", configuration=CALIBRATED.configuration(PARAMS), records=known)
    verdict = conformal(result.images.score, calibration.column(), 0.01)
    record = json.loads(json.dumps(facts("threshold", calibration, result, verdict)))
    assert len(record["candidates"]) == len(result.search.candidates)
    assert record["baselines"]["start point only"][0]["sampler"] == result.images.sampler
    assert record["decision"]["score"] == result.images.score


def test_note_says_what_a_clean_verdict_leaves_open(tmp_path):
    result = examined(tmp_path, None, starts="published", inversion_steps=(5, 2))
    assert "would be missed" in note(result, conformal(0.1, [0.1, 0.2, 0.3], 0.01, 1.0))


def test_solutions_are_judged_by_samplers_of_their_class():
    assert samplers_for(0.5, PARAMS.samplers) == ["ddpm"] and samplers_for(1.0, PARAMS.samplers) == ["ddim"]
    assert samplers_for(0.5, ("ddim", "heun")) == ["ddim", "heun"]


def test_images_far_out_are_not_clipped_into_uniformity():
    generator = torch.Generator().manual_seed(0)
    plain = measure("ddpm", torch.randn(16, *SHAPE, generator=generator), pixel_distances)
    far = measure("ddpm", 100 + 30 * torch.randn(16, *SHAPE, generator=generator), pixel_distances)
    assert relative(far, plain).score < 0
    lost = measure("ddpm", torch.full((16, *SHAPE), torch.inf), pixel_distances)
    assert relative(lost, plain).score == 0
