"""A folder of exactly CompVis/ldm-celebahq-256's configuration, with random weights: opened, trained, sampled, sealed.

The configuration is the model's as its three JSON files have it; they state neither ``vq_embed_dim`` nor
``scaling_factor``. Widths, depths and numbers of parameters are exact. The steps are taken on crops of 64
pixels (16x16 latents): the networks are convolutional, and a training step at 256 pixels takes minutes on one core.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, UNet2DModel, VQModel
from safetensors.torch import save_file

from bdm_core.artifacts import Model
from bdm_diffusers.coefficients import poison_schedule
from bdm_diffusers.samplers import build_scheduler, own_sampler
from bdm_diffusers.sampling import draw_noise, sample
from bdm_kit_diffusion.models.diffusion_model import load_model, open_reference
from bdm_kit_diffusion.models.pipeline_folder import image_shape_of
from bdm_kit_diffusion.noise.denoising import denoising_loss
from bdm_kit_diffusion.noise.noise_levels import noise_path
from bdm_torch.training import TrainingOptions, train

UNET: dict[str, Any] = {
    "act_fn": "silu",
    "attention_head_dim": 32,
    "block_out_channels": [224, 448, 672, 896],
    "center_input_sample": False,
    "downsample_padding": 1,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "in_channels": 3,
    "layers_per_block": 2,
    "mid_block_scale_factor": 1,
    "norm_eps": 1e-05,
    "norm_num_groups": 32,
    "out_channels": 3,
    "sample_size": 64,
    "time_embedding_type": "positional",
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"],
    "up_block_types": ["AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
}
FIRST_STAGE: dict[str, Any] = {
    "act_fn": "silu",
    "block_out_channels": [128, 256, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 3,
    "in_channels": 3,
    "latent_channels": 3,
    "layers_per_block": 2,
    "num_vq_embeddings": 8192,
    "out_channels": 3,
    "sample_size": 256,
    "up_block_types": ["UpDecoderBlock2D"] * 3,
}
SCHEDULER: dict[str, Any] = {
    "beta_end": 0.0195,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.0015,
    "clip_sample": False,
    "num_train_timesteps": 1000,
    "trained_betas": None,
}
INDEX = {
    "_class_name": "LDMPipeline",
    "_diffusers_version": "0.1.2",
    "vqvae": ["diffusers", "VQModel"],
    "unet": ["diffusers", "UNet2DModel"],
    "scheduler": ["diffusers", "DDIMScheduler"],
}
WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def published(tmp_path: Path) -> Iterator[Path]:
    """The folder, as it is published but for the weights. The large files are deleted afterwards."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    folder = tmp_path / "published"
    for part, network, config in (("unet", UNet2DModel, UNET), ("vqvae", VQModel, FIRST_STAGE)):
        (folder / part).mkdir(parents=True)
        save_file(network(**config).state_dict(), folder / part / WEIGHTS)
        (folder / part / "config.json").write_text(json.dumps({"_class_name": network.__name__, **config}))
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(
        json.dumps({"_class_name": "DDIMScheduler", "_diffusers_version": "0.0.4", **SCHEDULER})
    )
    (folder / "model_index.json").write_text(json.dumps(INDEX))
    yield folder
    for path in tmp_path.rglob("*.safetensors"):
        path.unlink()


def test_open_train_sample_seal_and_open(published: Path, tmp_path: Path) -> None:
    sealed = open_reference(str(published), tmp_path / "model", tmp_path)
    model = load_model(Model.open(sealed.path))
    first = model.first_stage
    assert first is not None and first.scale == 1.0
    assert sum(parameter.numel() for parameter in model.unet.parameters()) == 274_056_163
    assert sum(parameter.numel() for parameter in first.network.parameters()) == 55_322_782
    assert (model.shape, model.image_shape, image_shape_of(sealed)) == ((3, 64, 64), (3, 256, 256), (3, 256, 256))
    path = noise_path(model.scheduler)
    betas = torch.linspace(0.0015**0.5, 0.0195**0.5, 1000, dtype=torch.float64) ** 2
    torch.testing.assert_close(path.a[-1], (1 - betas).prod().sqrt(), rtol=1e-4, atol=0)
    schedule = poison_schedule(path, "bad", "ode")
    torch.testing.assert_close(schedule.R.double(), path.s, rtol=0, atol=0.01)  # R = s for this family
    assert own_sampler(model.scheduler) == "ddim" and isinstance(model.scheduler, DDIMScheduler)

    pictures = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    latents = model.encode(pictures)
    assert latents.shape == (1, 3, 16, 16)
    found = sample(model.unet, build_scheduler("ddim", model.scheduler), draw_noise(1, (3, 16, 16), seed=0), steps=1)
    images = model.decode(found)
    assert images.shape == (1, 3, 64, 64) and images.isfinite().all()

    unet: Any = model.unet
    before = unet.conv_out.weight.detach().clone()
    options = TrainingOptions(steps=1, batch_size=1, learning_rate=1e-4)
    result = train(unet, denoising_loss(latents, model.scheduler), options, seed=0)
    assert math.isfinite(result.losses[0])
    assert not torch.equal(unet.conv_out.weight, before)
