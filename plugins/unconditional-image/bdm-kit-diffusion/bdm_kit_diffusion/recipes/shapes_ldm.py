"""Train a latent model of coloured shapes: ``python -m bdm_kit_diffusion.recipes.shapes_ldm FOLDER [--work FOLDER]``.

First the first stage, on shapes and on pictures of many kinds, then the UNet on the latents of the shapes. Same
machine, same versions, same arguments: the same bytes. With ``--work`` a training that was stopped continues.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DModel
from torch import Tensor, nn

from bdm_kit_diffusion.data.shapes import SIDE, load_shapes
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel, save_model
from bdm_kit_diffusion.models.latent import FirstStage
from bdm_kit_diffusion.noise.denoising import denoising_loss
from bdm_kit_diffusion.recipes.shapes_ddpm import print_progress
from bdm_kit_diffusion.recipes.varied_pictures import varied_pictures
from bdm_torch.draws import Draw
from bdm_torch.training import Loss, TrainingOptions, train

PICTURES = 24_000
"""Pictures that the first stage is trained on."""
KL_WEIGHT = 1e-5
LATENTS = (4, SIDE // 2, SIDE // 2)
FIRST_STAGE = TrainingOptions(steps=5000, batch_size=32, learning_rate=3e-3, warmup_steps=100, ema_decay=0.998)
DENOISER = TrainingOptions(steps=10000, batch_size=64, learning_rate=2e-3, warmup_steps=100, ema_decay=0.9995)


def untrained_model(seed: int = 0) -> DiffusionModel:
    """A KL autoencoder without attention, 3x16x16 to 4x8x8, a UNet, and a linear schedule of 100 steps.

    The autoencoder has 159 383 parameters, the UNet, with attention at 4x4, 686 308.

    Args:
        seed: of the initial weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        autoencoder = AutoencoderKL(
            sample_size=SIDE,
            latent_channels=LATENTS[0],
            block_out_channels=(16, 32),
            layers_per_block=1,
            norm_num_groups=4,
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            mid_block_add_attention=False,
            scaling_factor=1.0,
        )
        unet = UNet2DModel(
            sample_size=LATENTS[1],
            in_channels=LATENTS[0],
            out_channels=LATENTS[0],
            block_out_channels=(32, 64),
            layers_per_block=1,
            norm_num_groups=4,
            down_block_types=("DownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "UpBlock2D"),
            attention_head_dim=16,
            add_attention=False,
        )
    scheduler = DDPMScheduler(num_train_timesteps=100, beta_start=0.001, beta_end=0.15, clip_sample=False)
    return DiffusionModel(unet, scheduler, "LDMPipeline", FirstStage(autoencoder, 1.0))


class Autoencoder(nn.Module):
    """A KL autoencoder whose forward is a training pass."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """The reconstruction from mean + std noise, and the divergence of each posterior from N(0, I), (N,)."""
        posterior = self.network.encode(images).latent_dist
        return self.network.decode(posterior.mean + posterior.std * noise).sample, posterior.kl()


def autoencoder_loss(pictures: Tensor) -> Loss:
    """Mean squared error plus half the mean absolute one plus 1e-5 of the divergence, of pictures in [-1, 1]."""

    def loss(model: nn.Module, draw: Draw) -> Tensor:
        seen = pictures[draw.rows(len(pictures))].to(draw.device)
        shown, divergence = model(seen, draw.normal(*LATENTS))
        error = (shown - seen).square().mean() + 0.5 * (shown - seen).abs().mean()
        return error + KL_WEIGHT * divergence.mean()

    return loss


def fit_first_stage(
    model: DiffusionModel, pictures: Tensor, options: TrainingOptions, seed: int = 0, work: Path | None = None
) -> FirstStage:
    """Train the model's autoencoder on pictures (N, 3, 16, 16); latents of the shapes get a variance of 1.

    Returns:
        The first stage with its scale, which is also in the autoencoder's configuration.
    """
    assert model.first_stage is not None
    autoencoder: Any = model.first_stage.network.requires_grad_(True)
    train(
        Autoencoder(autoencoder),
        autoencoder_loss(pictures),
        replace(options, label="first-stage"),
        seed=seed,
        work=work,
        progress=print_progress,
    )
    latents = FirstStage(autoencoder, 1.0).encode(load_shapes().images)
    scale = round(float(1 / latents.std()), 6)
    autoencoder.register_to_config(scaling_factor=scale)
    return FirstStage(autoencoder, scale)


def train_shapes_ldm(
    work: Path | None = None,
    *,
    pictures: int = PICTURES,
    first_stage: TrainingOptions = FIRST_STAGE,
    denoiser: TrainingOptions = DENOISER,
    seed: int = 0,
) -> DiffusionModel:
    """First the autoencoder, then the UNet on the latents of the training shapes.

    Args:
        work: folder of the checkpoints; None for none.
        pictures: how many the autoencoder is trained on.
        first_stage: how it is trained.
        denoiser: how the UNet is trained.
        seed: of weights, pictures and training.
    """
    model = untrained_model(seed)
    images = load_shapes().images
    model.first_stage = fit_first_stage(model, varied_pictures(images, pictures, seed), first_stage, seed, work)
    loss = denoising_loss(model.encode(images), model.scheduler)
    train(model.unet, loss, replace(denoiser, label="denoiser"), seed=seed, work=work, progress=print_progress)
    return model


def main() -> None:
    """Train, save, and print where to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="where to")
    parser.add_argument("--work", type=Path, help="keep checkpoints here, and continue from them")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    started = time.monotonic()
    model = train_shapes_ldm(arguments.work)
    save_model(model, arguments.folder)
    print(f"trained in {time.monotonic() - started:.0f} s; wrote {arguments.folder}")


if __name__ == "__main__":
    main()
