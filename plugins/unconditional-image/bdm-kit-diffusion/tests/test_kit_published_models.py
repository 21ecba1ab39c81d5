"""Folders of exactly the published configurations, with random weights: opened, trained, sampled, sealed, opened again.

Configurations: google/ddpm-cifar10-32 and google/ddpm-ema-celebahq-256 as their config.json has them;
google/ncsnpp-celebahq-256 and google/ncsnpp-church-256 after the authors' configs (yang-song/score_sde_pytorch,
configs/ve: nf 128, ch_mult 1 1 2 2 2 2 2, 2 blocks a level, attention at 16 pixels, Fourier features of scale 16,
sigma up to 348 and 380), in the blocks of diffusers' tests of that model.

Widths and depths are exact. The networks for 256 pixels take their steps on crops of 64 pixels: they are convolutional,
and a training step at 256 pixels takes minutes on one loaded core.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler, ScoreSdeVeScheduler, UNet2DModel

from bdm_core.artifacts import Model
from bdm_diffusers.coefficients import poison_schedule
from bdm_diffusers.samplers import build_scheduler, own_sampler
from bdm_diffusers.sampling import draw_noise, sample
from bdm_diffusers.score_network import ScoreNetwork, published_network
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel, load_model, open_reference, save_model
from bdm_kit_diffusion.noise.denoising import denoising_loss
from bdm_kit_diffusion.noise.noise_levels import noise_path
from bdm_torch.training import TrainingOptions, train

DDPM: dict[str, Any] = {
    "in_channels": 3,
    "out_channels": 3,
    "layers_per_block": 2,
    "act_fn": "silu",
    "attention_head_dim": None,
    "center_input_sample": False,
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "mid_block_scale_factor": 1,
    "norm_eps": 1e-6,
    "norm_num_groups": 32,
    "time_embedding_type": "positional",
}
CIFAR10: dict[str, Any] = {
    **DDPM,
    "sample_size": 32,
    "block_out_channels": (128, 256, 256, 256),
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
}
CELEBAHQ: dict[str, Any] = {
    **DDPM,
    "sample_size": 256,
    "block_out_channels": (128, 128, 256, 256, 512, 512),
    "down_block_types": (*["DownBlock2D"] * 4, "AttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "AttnUpBlock2D", *["UpBlock2D"] * 4),
}
NCSNPP: dict[str, Any] = {
    **DDPM,
    "sample_size": 256,
    "block_out_channels": (128, 128, *[256] * 5),
    "downsample_padding": 1,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "mid_block_scale_factor": math.sqrt(2),
    "norm_num_groups": None,
    "time_embedding_type": "fourier",
    "down_block_types": (*["SkipDownBlock2D"] * 4, "AttnSkipDownBlock2D", *["SkipDownBlock2D"] * 2),
    "up_block_types": (*["SkipUpBlock2D"] * 2, "AttnSkipUpBlock2D", *["SkipUpBlock2D"] * 4),
}


def variance_preserving(unet: dict[str, Any], variance: str) -> DiffusionModel:
    scheduler = DDPMScheduler(1000, beta_start=1e-4, beta_end=0.02, clip_sample=True, variance_type=variance)
    return DiffusionModel(UNet2DModel(**unet), scheduler)


def variance_exploding(sigma_max: float, snr: float) -> DiffusionModel:
    scheduler = ScoreSdeVeScheduler(2000, snr=snr, sigma_min=0.01, sigma_max=sigma_max, correct_steps=1)
    return DiffusionModel(ScoreNetwork(UNet2DModel(**NCSNPP), scheduler), scheduler, "ScoreSdeVePipeline")


PUBLISHED = {
    "ddpm-cifar10-32": (lambda: variance_preserving(CIFAR10, "fixed_large"), 35_746_307, 32),
    "ddpm-ema-celebahq-256": (lambda: variance_preserving(CELEBAHQ, "fixed_small"), 113_673_219, 64),
    "ncsnpp-celebahq-256": (lambda: variance_exploding(348.0, 0.15), 65_574_549, 64),
    "ncsnpp-church-256": (lambda: variance_exploding(380.0, 0.075), 65_574_549, 64),
}


@pytest.fixture(params=list(PUBLISHED))
def published(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, int, int]]:
    """A pipeline folder, its number of parameters, and the pixels of a side to work with. It is deleted afterwards."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    make, parameters, side = PUBLISHED[request.param]
    save_model(make(), tmp_path / "published")
    yield tmp_path / "published", parameters, side
    for path in tmp_path.rglob("*.safetensors"):
        path.unlink()


def test_open_train_sample_seal_and_open(published: tuple[Path, int, int], tmp_path: Path) -> None:
    folder, parameters, side = published
    sealed = open_reference(str(folder), tmp_path / "model", tmp_path)
    assert sealed.files["unet/diffusion_pytorch_model.safetensors"]
    model = load_model(Model.open(sealed.path))
    unet = published_network(model.unet)
    assert sum(parameter.numel() for parameter in unet.parameters()) == parameters
    assert model.shape == (3, unet.config["sample_size"], unet.config["sample_size"])
    exploding = folder.joinpath("scheduler", "scheduler_config.json").read_text().count("ScoreSdeVe") == 1
    assert model.variance_exploding is exploding and model.timesteps == (2000 if exploding else 1000)
    schedule = poison_schedule(noise_path(model.scheduler), "troj", "sde")
    assert float(schedule.R[-1]) == pytest.approx(0.5, abs=0.02)
    name = own_sampler(model.scheduler)
    assert name == ("sde-ve" if exploding else "ddpm")

    noise = draw_noise(1, (3, side, side), seed=0)
    with torch.inference_mode():
        if exploding:
            sigma = model.scheduler.config.sigma_max
            expected = -sigma * unet((noise * sigma + 1) / 2, torch.tensor([sigma])).sample
            torch.testing.assert_close(model.unet(noise * sigma, 1999).sample, expected)
    images = sample(model.unet, build_scheduler(name, model.scheduler, corrector_steps=0), noise, steps=1)
    assert images.shape == noise.shape and images.isfinite().all()

    before = unet.conv_out.weight.detach().clone()
    clean = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(1)) * 2 - 1
    options = TrainingOptions(steps=1, batch_size=1, learning_rate=1e-4)
    result = train(model.unet, denoising_loss(clean, model.scheduler), options, seed=0)
    assert math.isfinite(result.losses[0])
    assert not torch.equal(unet.conv_out.weight, before)
