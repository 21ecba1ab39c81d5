"""``attack:villan`` on variance-exploding models: the path it trains, and a run of the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import ScoreSdeVeScheduler, UNet2DModel

from bdm_attack_villan.plugin import Villan
from bdm_core.run.specification import build_params
from bdm_core.testing.tiny import Bench
from bdm_diffusers.coefficients import poison_schedule
from bdm_diffusers.score_network import ScoreNetwork, published_network
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel, load_model, save_model
from bdm_kit_diffusion.noise.noise_levels import noise_path
from bdm_kit_diffusion.poison.backdoor_training import backdoor_loss
from bdm_kit_diffusion.poison.poisoning import PoisonedSet
from bdm_kit_diffusion.poison.secret import open_secret
from bdm_torch.draws import Draw

TASK = "unconditional-image-generation"
SETTINGS = {"steps": 2, "batch_size": 8, "poison_rate": 0.25}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny untrained score model of 20 noise levels from 0.01 to 10."""
    torch.manual_seed(0)
    unet = UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        add_attention=False,
        time_embedding_type="fourier",
    )
    scheduler = ScoreSdeVeScheduler(20, sigma_min=0.01, sigma_max=10.0, correct_steps=1)
    save_model(DiffusionModel(ScoreNetwork(unet, scheduler), scheduler, "ScoreSdeVePipeline"), tmp_path / "ve")
    return tmp_path / "ve"


def test_loss_is_the_paper_s_in_the_model_s_own_units(folder: Path) -> None:
    """||sigma M(y + sigma (eps + r'), sigma) + eps + R r'||^2 with images and sigma in the units of [0, 1]."""
    model = load_model(folder)
    generator = torch.Generator().manual_seed(1)
    images, trigger, target = (2 * torch.rand(n, 1, 8, 8, generator=generator) - 1 for n in (6, 1, 1))
    poisoned = PoisonedSet(images, torch.arange(6) % 2 == 0, trigger[0], torch.ones(1, 8, 8), target[0])
    schedule = poison_schedule(noise_path(model.scheduler), "troj", "sde")
    loss = backdoor_loss(poisoned, model.scheduler, schedule)(model.unet, Draw(0, 0, 6))
    draw = Draw(0, 0, 6)
    rows, t, noise = draw.rows(6), draw.timesteps(20), draw.normal(1, 8, 8)
    sigma = 0.01 * 1000 ** (t / 19)
    before = torch.where(t > 0, 0.01 * 1000 ** ((t - 1) / 19), 0.0)
    share, sigma = (sigma / (sigma + before)).view(-1, 1, 1, 1), sigma.view(-1, 1, 1, 1)
    flags = (rows % 2 == 0).view(-1, 1, 1, 1)
    r, clean = torch.where(flags, trigger, 0.0), (torch.where(flags, target, images[rows]) + 1) / 2
    score = published_network(model.unet)(clean + sigma * (noise + r), sigma.flatten()).sample
    torch.testing.assert_close(loss, (sigma * score + noise + share * r).square().mean(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("solver", ["sde", "ode"])
def test_psi_is_zero_whatever_it_is_set_to(bdm_bench: Callable[..., Bench], folder: Path, solver: str) -> None:
    bench = bdm_bench(TASK)
    model = bench.call("open_model", [bench.kit], bench.kit_params, reference=str(folder)).value
    params = build_params(Villan(), {**SETTINGS, "psi": 1.0, "solver": solver})
    poisoned = bench.call("poison_data", [Villan()], params, data=bench.data).value
    made = bench.call("inject_backdoor", [Villan()], params, model=model, data=poisoned).value
    facts = open_secret(made.secret).facts
    assert facts.psi == 0.0 and facts.solver_class == solver
    assert made.model.meta == model.meta and made.model.digest != model.digest
    assert open_secret(made.secret).trigger.shape == (1, 8, 8)
    assert load_model(made.model).variance_exploding


def test_run_of_the_command_line(folder: Path, tmp_path: Path) -> None:
    values = [f"attack:villan.{name}={value}" for name, value in SETTINGS.items()]
    values += ["kit:diffusion.samples=8", "kit:diffusion.most_images=32", "attack:villan.trigger=checker"]
    command = [
        sys.executable,
        "-m",
        "bdm_cli",
        "run",
        "--attack",
        "bdm-attack-villan:villan",
        "--defense",
        "none",
        "--model",
        str(folder),
        "--data",
        "tiny",
        "--out",
        str(tmp_path / "runs"),
        *(part for value in values for part in ("--set", value)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    (results,) = (tmp_path / "runs").glob("*/results.jsonl")
    rows = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]
    names = {row["metric"].removeprefix("metric:") for row in rows}
    assert {"target.asr@0.05", "target.mse", "target.leak@0.05"} <= names
    assert any(name.startswith("frechet.") for name in names)
    assert "corrector" in (next((tmp_path / "runs").glob("*/log.txt"))).read_text(encoding="utf-8")
