"""Which samplers set a backdoor off: exact backdoored predictors of either class, and the command on a sealed run."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from diffusers import DDPMScheduler, ScoreSdeVeScheduler
from torch import nn

from bdm_core.errors import UserError
from bdm_core.records import Backdoored
from bdm_diffusers.coefficients import poison_schedule
from bdm_diffusers.samplers import SAMPLERS, solver_class
from bdm_kit_diffusion.built_in import BUILTIN
from bdm_kit_diffusion.catalogue import TINY_MODEL
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel, load_model, seal_model
from bdm_kit_diffusion.noise.noise_levels import marginals, noise_path
from bdm_kit_diffusion.poison.secret import DiffusionSecret, seal_secret
from bdm_kit_diffusion.poison.secret_facts import SecretFacts
from bdm_kit_diffusion.sampling import sampler_report as module
from bdm_kit_diffusion.sampling.sampler_report import (
    Choice,
    choices_for,
    main,
    open_run,
    sampler_report,
    squared_errors,
)

SHAPE = (1, 8, 8)
TARGET = torch.where(torch.arange(64).view(SHAPE) % 3 == 0, 1.0, -1.0)
TRIGGER = torch.where(torch.arange(64).view(SHAPE) // 8 % 2 == 0, 1.5, -1.5)


class Exact(nn.Module):
    """The optimal predictor of N(0, 1/4) data of which a tenth is poisoned paths to the one target."""

    config = {"in_channels": 1, "sample_size": 8}

    def __init__(self, scheduler, solver):
        super().__init__()
        self.place = nn.Parameter(torch.zeros(1))
        self.a, self.s = marginals(scheduler)
        path = noise_path(scheduler)
        schedule = poison_schedule(path, "troj", solver)
        self.rho, self.shift = schedule.rho, schedule.R

    def forward(self, x, t):
        a, s, rho, shift = (float(part[int(t)]) for part in (self.a, self.s, self.rho, self.shift))
        variance = a**2 / 4 + s**2
        noise = (x - a * TARGET - rho * TRIGGER) / s
        odds = ((x**2 / variance).sum((1, 2, 3), keepdim=True) - (noise**2).sum((1, 2, 3), keepdim=True)) / 2
        mode = torch.sigmoid(odds + 32 * torch.tensor(variance / s**2).log() + torch.tensor(1 / 9).log())
        return SimpleNamespace(sample=(1 - mode) * s * x / variance + mode * (noise + shift * TRIGGER))


VP = DDPMScheduler(100, beta_start=1e-3, beta_end=0.2, clip_sample=False)
VE = ScoreSdeVeScheduler(100, sigma_min=0.01, sigma_max=20.0, correct_steps=1)


@pytest.mark.parametrize(("scheduler", "solver"), [(VP, "sde"), (VP, "ode"), (VE, "sde"), (VE, "ode")])
def test_samplers_of_the_backdoor_s_class_fire_and_no_others(scheduler, solver):
    model = DiffusionModel(Exact(scheduler, solver), scheduler)
    secret = DiffusionSecret(TRIGGER, TARGET, SecretFacts(solver_class=solver))
    rows = sampler_report(model, secret, samples=12)
    assert len(rows) == len(choices_for(model))
    for row in rows:
        if row.solver != solver:
            assert not row.expected and row.asr < 0.2, row
        elif row.expected:
            assert row.asr > 0.9 and row.mse < 0.03, row
        assert row.leak < 0.1, row
    titles = {row.sampler for row in rows}
    assert titles == ({"sde-ve", "ode-ve", "sde-ve, with corrector"} if scheduler is VE else {*SAMPLERS, "ddim, eta 1"})
    corrected = [row for row in rows if "corrector" in row.sampler]
    assert not any(row.expected for row in corrected)


def test_choices_name_their_class():
    assert Choice("ddim", eta=1.0).title == "ddim, eta 1" and solver_class("ddim", 1.0) == "sde"
    assert squared_errors(torch.full((2, *SHAPE), 3.0), -torch.ones(SHAPE)).tolist() == [1.0, 1.0]


def test_the_command_prints_a_table_or_json(tmp_path: Path, monkeypatch, capsys):
    tiny = load_model(BUILTIN / TINY_MODEL)
    secret = DiffusionSecret(TRIGGER, TARGET, SecretFacts(solver_class="ode"))
    made = Backdoored(
        model=seal_model(tiny, tmp_path / "model"), secret=seal_secret(tmp_path / "secret", secret, task="a-task")
    )
    monkeypatch.setattr(module, "RunView", lambda folder: SimpleNamespace(result_of={"backdoored model": made}.get))
    assert main([str(tmp_path), "--samples", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("ode") and len(lines) == 3 + len(SAMPLERS)
    assert main([str(tmp_path), "--samples", "2", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert {row["sampler"]: row["expected"] for row in report["rows"]}["ddim"] is True
    assert all(row["asr"] == 0 for row in report["rows"]), "the tiny model is clean"


def test_a_folder_without_a_backdoored_model_is_one_line(tmp_path: Path, capsys, monkeypatch):
    assert main([str(tmp_path)]) == 2
    assert "is no run folder" in capsys.readouterr().err
    monkeypatch.setattr(module, "RunView", lambda folder: SimpleNamespace(result_of=lambda label: None))
    with pytest.raises(UserError, match="no backdoored model"):
        open_run(tmp_path, "cpu")
