"""The kit's stages beyond the conformance tests: which sampler runs, and when it warns."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler

from bdm_core.artifacts import Data, Model, Secret
from bdm_core.context import Context
from bdm_core.errors import ArtifactError, UserError
from bdm_diffusers.sampling import draw_noise, image_generators
from bdm_kit_diffusion import TASK, stages
from bdm_kit_diffusion.catalogue import TINY_MODEL
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel, load_model, open_reference, seal_model
from bdm_kit_diffusion.noise.initial_noise import load_noise, seal_noise
from bdm_kit_diffusion.params import DiffusionKitParams
from bdm_kit_diffusion.poison.poisoning import Mixture, Poison, seal_poisoned
from bdm_kit_diffusion.poison.secret import DiffusionSecret, seal_secret
from bdm_kit_diffusion.poison.secret_facts import SecretFacts
from bdm_kit_diffusion.recipes.digits_ddpm import untrained_model
from bdm_kit_diffusion.rows import select
from bdm_torch.image_sets import load_images, load_rows, seal_images
from bdm_torch.pictures.triggers import make_trigger


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return open_reference("tiny", tmp_path / "model", tmp_path)


@pytest.fixture
def noise(tmp_path: Path) -> Data:
    return seal_noise(tmp_path / "noise", draw_noise(3, (1, 8, 8), seed=1))


def context(tmp_path: Path, **params: Any) -> Context:
    return Context(out=tmp_path / f"out-{params}", work=tmp_path, seed=5, kit=DiffusionKitParams(**params))


def with_scheduler(scheduler: Any) -> DiffusionModel:
    return DiffusionModel(untrained_model(TINY_MODEL).unet, scheduler)


@pytest.mark.parametrize(
    ("scheduler", "params", "expected"),
    [
        (DDPMScheduler(20), {}, ("ddpm", 20)),
        (DDIMScheduler(1000), {}, ("ddim", 20)),
        (DDPMScheduler(1000), {"sampler": "unipc", "steps": 7}, ("unipc", 7)),
    ],
)
def test_sampler_is_the_models_own_unless_named(scheduler: Any, params: dict[str, Any], expected: Any) -> None:
    found = stages.chosen_sampling(DiffusionKitParams(**params), with_scheduler(scheduler))
    assert (found.name, found.steps) == expected


def test_default_sampling_is_the_ancestral_chain(tmp_path: Path, model: Model, noise: Data) -> None:
    """Against algorithm 2 of Ho et al. 2020 with the posterior variance, step by step in float64."""
    outputs = stages.generate(context(tmp_path), model, noise)
    assert (outputs.meta["sampler"], outputs.meta["steps"]) == ("ddpm", 20)
    unet, beta = load_model(model).unet, torch.linspace(0.1 / 20, 0.7, 20, dtype=torch.float64)
    abar = (1 - beta).cumprod(0)
    x, generators = load_noise(noise).double(), image_generators(5, 3)
    for t in reversed(range(20)):
        with torch.no_grad():
            predicted = unet(x.float(), t).sample.double()
        x = (x - beta[t] / (1 - abar[t]).sqrt() * predicted) / (1 - beta[t]).sqrt()
        if t > 0:
            variance = beta[t] * (1 - abar[t - 1]) / (1 - abar[t])
            x = x + variance.sqrt() * torch.stack([torch.randn(1, 8, 8, generator=g) for g in generators])
    torch.testing.assert_close(load_images(outputs), x.clamp(-1, 1).float(), rtol=0, atol=1.5 / 127.5)


def test_progress_counts_every_model_call(tmp_path: Path, model: Model, noise: Data) -> None:
    calls: list[tuple[Any, ...]] = []
    ctx = context(tmp_path, steps=4, sampler="ddim", batch_size=2)
    object.__setattr__(ctx, "on_progress", lambda *call: calls.append(call))
    stages.generate(ctx, model, noise)
    assert calls == [("sample", done, 8, None) for done in range(1, 9)]


def test_warns_when_the_backdoor_cannot_fire(
    tmp_path: Path, model: Model, noise: Data, caplog: pytest.LogCaptureFixture
) -> None:
    half = torch.ones(1, 8, 8)
    secret: Secret = seal_secret(
        tmp_path / "secret", DiffusionSecret(half, half, SecretFacts(solver_class="ode")), task=model.task
    )
    with caplog.at_level(logging.WARNING):
        stages.generate(context(tmp_path), model, noise, secret)
    assert "sampler ddpm is of class 'sde', the backdoor of class 'ode'" in caplog.text
    caplog.clear()
    stages.generate(context(tmp_path, sampler="ddim"), model, noise, secret)
    assert not caplog.records


def test_impossible_requests_get_one_line(tmp_path: Path, model: Model, noise: Data) -> None:
    with pytest.raises(UserError, match="unknown sampler 'dimm': did you mean 'ddim'"):
        stages.generate(context(tmp_path, sampler="dimm"), model, noise)
    with pytest.raises(UserError, match="steps must be between 1 and the model's 20 timesteps, not 21"):
        stages.generate(context(tmp_path, steps=21), model, noise)
    wide = seal_noise(tmp_path / "wide", torch.zeros(1, 1, 8, 10))
    with pytest.raises(ArtifactError, match=r"noise of shape \(1, 8, 10\), the model needs \(1, 8, 8\)"):
        stages.generate(context(tmp_path), model, wide)


def test_selection_keeps_facts_with_their_images(tmp_path: Path) -> None:
    levels = torch.linspace(-1, 1, 10).reshape(10, 1, 1, 1).expand(10, 1, 8, 8)
    data = seal_images(tmp_path / "all", levels, Data, task=TASK, rows=[{"label": index} for index in range(10)])
    shared = select(context(tmp_path), [data], [7, 1, 4], blind=False)
    labels = [row["label"] for row in load_rows(shared)]
    assert labels == [7, 1, 4]
    assert torch.equal(load_images(shared), load_images(data)[labels])


def test_blind_training_rows_tell_nothing_of_the_poison(tmp_path: Path) -> None:
    levels = torch.linspace(-1, 1, 10).reshape(10, 1, 1, 1).expand(10, 1, 8, 8)
    data = seal_images(tmp_path / "all", levels, Data, task=TASK, rows=[{"label": index % 2} for index in range(10)])
    box = make_trigger("box", (1, 8, 8))
    poison = Poison(box.image, box.mask, torch.ones(1, 8, 8))
    poisoned = seal_poisoned(tmp_path / "poisoned", data, poison, Mixture(0.3), seed=1)
    seen = select(context(tmp_path), [poisoned], list(range(10)), blind=True)
    assert {name.partition("/")[0] for name in seen.files} == {"images", "rows.jsonl"}
    assert all(set(row) == {"file", "label"} for row in load_rows(seen))
    assert torch.equal(load_images(seen), load_images(poisoned))
    assert seen.meta == {**data.meta, "count": 10}


def test_kit_works_for_colour_models_of_any_size(tmp_path: Path) -> None:
    opened = untrained_model(TINY_MODEL)
    wide = DiffusionModel(
        type(opened.unet).from_config(
            {**opened.unet.config, "sample_size": [4, 6], "in_channels": 3, "out_channels": 3}
        ),
        opened.scheduler,
    )
    sealed = seal_model(wide, tmp_path / "model")
    inputs = stages.make_noise(context(tmp_path), sealed, 2)
    assert load_images(stages.generate(context(tmp_path, batch_size=1), sealed, inputs)).shape == (2, 3, 4, 6)
