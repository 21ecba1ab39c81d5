"""The inversion moves the pattern that is used, finds a planted trigger, and sees exact backdoored predictors."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_defense_diff_cleanse.detection import CALIBRATED, facts, note
from bdm_defense_diff_cleanse.inversion import invert, range_penalty, rounded, shift_of, similarity_loss
from bdm_defense_diff_cleanse.params import DiffCleanseParams
from bdm_defense_diff_cleanse.plugin import DiffCleanse
from bdm_defense_diff_cleanse.search import search
from bdm_diffusers.coefficients import poison_schedule
from bdm_diffusers.sampling import draw_noise
from bdm_kit_diffusion.built_in import BUILTIN
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel, load_model, seal_model
from bdm_torch.calibration import conformal
from bdm_torch.calibration_file import Calibration, ModelRecord

SHAPE = (1, 8, 8)
PLACE = torch.arange(64).view(SHAPE)
TARGET = torch.where(PLACE // 8 == 3, 0.9, -0.9)
TRIGGER = torch.where((PLACE // 8 < 2) & (PLACE % 8 < 2), 1.0, -1.0)


def test_rounding_passes_the_gradient() -> None:
    pattern = torch.rand(SHAPE, generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    value = rounded(pattern)
    torch.testing.assert_close(255 * value, (255 * value).round(), rtol=0, atol=1e-4)
    assert float((value - pattern).abs().max()) <= 0.5 / 255 + 1e-6
    (2 * value).sum().backward()
    assert torch.equal(pattern.grad, torch.full(SHAPE, 2.0))
    torch.testing.assert_close(shift_of(torch.tensor([0.0, 1.0]), 1.5), torch.tensor([-1.5, 1.5]))


def test_penalties_and_loss_in_closed_form() -> None:
    assert float(range_penalty(torch.tensor([0.0, 0.05, 0.5, 0.97]), 0.05)) == pytest.approx(0.07)
    params = DiffCleanseParams(entropy_weight=0, samples=4)
    odd = TARGET.flip(1)
    images = torch.stack([TARGET, TARGET, TARGET, odd])
    cosine = float((TARGET * odd).sum() / TARGET.square().sum())
    assert float(similarity_loss(images, params)) == pytest.approx(4 * (1 - cosine), rel=1e-5)
    assert float(similarity_loss(images[:3], params)) == 0
    heavy = DiffCleanseParams(entropy_weight=3, entropy_band=(5, 6))
    entropy = sum(-share * math.log2(share) for share in (1 / 8, 7 / 8, 0.15, 0.85))  # 0.05 and 0.95 lie between bins
    assert float(similarity_loss(images[:3], heavy)) == pytest.approx(3 * (5 - entropy), rel=1e-3)


def planted(noise: Tensor, seen: list[Tensor]) -> Any:
    """A black box with d x_0 / d x_T = 1/2 that paints TARGET for shifts nearer to TARGET itself than to 0."""
    own = noise.sign() * 0.8

    def generate(shifts: Tensor, _: Tensor) -> Tensor:
        seen.append(shifts.clone())
        nearness = (shifts * TARGET).sum((1, 2, 3), keepdim=True) / TARGET.square().sum() - 0.5
        share = torch.sigmoid(20 * nearness)[:, None]
        return share * TARGET + (1 - share) * (own[None] + 0.5 * shifts[:, None]).clamp(-1, 1)

    return generate


def test_moves_the_pattern_that_is_used_and_finds_the_planted_trigger() -> None:
    noise = draw_noise(8, SHAPE, 1)
    seen: list[Tensor] = []
    params = DiffCleanseParams(samples=8, reach=1.0)
    found, generated = invert(planted(noise, seen), 0.45 * TARGET[None], noise, 30, params)
    assert float((seen[1] - seen[0]).abs().mean()) > 0.1, "the used pattern has to move, not a copy of it"
    assert found[0].start_mscr < 0.5 and found[0].mscr == 1
    assert generated == 8 * len(seen) and len(seen) < 31, "it ends when all images agree"
    assert float((found[0].shift * TARGET).sum() / TARGET.square().sum()) > 0.5


class Exact(torch.nn.Module):
    """E[eps | x_t] for data N(0, I/2), and, if backdoored, a tenth of poisoned paths to TARGET."""

    config = {"in_channels": 1, "sample_size": 8}

    def __init__(self, scheduler: Any, backdoored: bool) -> None:
        super().__init__()
        abar = scheduler.alphas_cumprod
        self.a, self.s, self.backdoored = abar.sqrt(), (1 - abar).sqrt(), backdoored
        schedule = poison_schedule(abar, "bad", "ode")
        self.rho, self.shift = schedule.rho, schedule.R

    def forward(self, x: Tensor, t: Tensor) -> Any:
        t = t.expand(len(x))
        a, s, rho, shift = (value[t].view(-1, 1, 1, 1) for value in (self.a, self.s, self.rho, self.shift))
        variance = a**2 / 2 + s**2
        clean = s * x / variance
        noise = (x - a * TARGET - rho * TRIGGER) / s
        odds = ((x**2 / variance).sum((1, 2, 3), keepdim=True) - (noise**2).sum((1, 2, 3), keepdim=True)) / 2
        mode = torch.sigmoid(odds + 32 * (variance / s**2).log() - 2.2) * float(self.backdoored)
        return SimpleNamespace(sample=(1 - mode) * clean + mode * (noise + shift * TRIGGER))


def examined(backdoored: bool) -> Any:
    scheduler = diffusers.DDPMScheduler(40, beta_start=2.5e-3, beta_end=0.5, clip_sample=False)
    params = DiffCleanseParams(samplers=("ddim",), epochs=(3,), samples=8, similarity=0.985)
    return search(DiffusionModel(Exact(scheduler, backdoored), scheduler), params, 3, "cpu")


def test_exact_backdoored_predictor_is_seen_and_the_clean_one_is_not() -> None:
    suspect, clean = examined(True), examined(False)
    assert suspect.best.score == 1 and clean.best.score < 0.5
    assert float((suspect.best.found.shift * TRIGGER).sum()) > 32
    errors = (suspect.best.images - TARGET).square().mean((1, 2, 3))
    assert float(errors.max()) < 0.1
    records = [ModelRecord(name="c", shape=SHAPE, features=[value]) for value in (0.0, 0.1, 0.2)]
    known = Calibration(recipe="a test", configuration=CALIBRATED.configuration(DiffCleanseParams()), records=records)
    verdict = conformal(suspect.best.score, known.column(), 0.01, 0.5)
    assert "8 of 8" in note(suspect, verdict)
    baselines = json.loads(json.dumps(facts(known, suspect, verdict)))["baselines"]
    assert set(baselines) == {"zero trigger", "start point only", "mean pixel"}
    assert baselines["zero trigger"]["ddim"] < 0.5


def test_counts_every_forward_pass() -> None:
    seen = 0

    class Counting(Exact):
        def forward(self, x: Tensor, t: Tensor) -> Any:
            nonlocal seen
            seen += len(x)
            return super().forward(x, t)

    scheduler = diffusers.DDPMScheduler(10, beta_start=1e-2, beta_end=0.9, clip_sample=False)
    params = DiffCleanseParams(starts="published", samplers=("ddim", "ddpm"), epochs=(1, 0), samples=4)
    result = search(DiffusionModel(Counting(scheduler, True), scheduler), params, 0, "cpu")
    assert result.network_evaluations == seen
    whole, seen = seen, 0
    fewer = params.model_copy(update={"inverting_share": 0.5})
    halved = search(DiffusionModel(Counting(scheduler, True), scheduler), fewer, 0, "cpu")
    assert halved.network_evaluations == seen == whole - 2 * 2 * 4 * 5  # epoch 0 and 1, two patterns, four images
    assert halved.zero == result.zero


def test_calibration_files(tmp_path: Path) -> None:
    shipped = CALIBRATED.read()
    assert CALIBRATED.other_settings(DiffCleanseParams(), shipped) == "" and len(shipped.records) >= 13
    verdicts = [conformal(score, shipped.column(), 0.01, 0.5) for score in shipped.column()]
    assert all(not verdict.unusual and verdict.threshold < 1 for verdict in verdicts)
    assert "samples=20" in CALIBRATED.other_settings(DiffCleanseParams(samples=20), shipped)
    assert "inverting_share=0.5" in CALIBRATED.other_settings(DiffCleanseParams(inverting_share=0.5), shipped)
    file = tmp_path / "calibration.json"
    file.write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match="no calibration"):
        CALIBRATED.read(file)


def test_calibrate_writes_the_score_of_every_model(tmp_path: Path) -> None:
    params = DiffCleanseParams(starts="published", samplers=("ddim",), epochs=(1,), samples=4, sampling_steps=5)
    model = seal_model(load_model(BUILTIN / "digits-tiny"), tmp_path / "model")
    for name in ("out", "work"):
        (tmp_path / name).mkdir()
    ctx = Context(tmp_path / "out", tmp_path / "work", 1000)
    DiffCleanse().calibrate(ctx, params, {"digits-tiny": model}, tmp_path / "mine.json")
    known = CALIBRATED.read(tmp_path / "mine.json")
    assert [record.name for record in known.records] == ["digits-tiny"]
    assert known.column() == [search(load_model(model), params, 1000, "cpu").best.score]
    assert known.configuration["epochs"] == [1]


@pytest.mark.parametrize("values", [{"epochs": [3]}, {"entropy_band": [6, 1]}])
def test_parameters_that_do_not_fit_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        DiffCleanseParams(**values)


def test_presets_are_valid() -> None:
    assert {DiffCleanseParams(**values).similarity for values in DiffCleanse.presets.values()} == {0.999}
