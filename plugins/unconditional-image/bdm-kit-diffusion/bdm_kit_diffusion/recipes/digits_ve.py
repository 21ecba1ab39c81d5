"""Train the shipped variance-exploding digits model: ``python -m bdm_kit_diffusion.recipes.digits_ve [FOLDER]``.

Same machine, same versions: the same bytes. Takes about two minutes on one CPU core.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch
from diffusers import ScoreSdeVeScheduler, UNet2DModel

from bdm_diffusers.score_network import ScoreNetwork
from bdm_kit_diffusion.built_in import BUILTIN
from bdm_kit_diffusion.catalogue import VE_MODEL
from bdm_kit_diffusion.data.built_in_data import load_digits
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel, save_model
from bdm_kit_diffusion.noise.denoising import denoising_loss
from bdm_torch.training import TrainingOptions, train

OPTIONS = TrainingOptions(steps=2000, batch_size=64, learning_rate=3e-3, warmup_steps=100, ema_decay=0.998)
FOURIER_SCALE = 0.2
"""Deviation of the frequencies of log(sigma). diffusers' 16 gives neighbours among 100 levels unrelated embeddings."""


def untrained_model(seed: int = 0) -> DiffusionModel:
    """A score network without attention for 8x8 grey images, and 100 noise levels from 0.01 to 10.

    The largest exceeds the distance of any two digits, 4.8 (technique 1 of Song and Ermon, 2006.09011). It gets
    log(sigma) as Fourier features and divides its output by sigma, as NCSN++ does; NCSN++'s skip blocks take colour
    images only.

    Args:
        seed: of the initial weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = UNet2DModel(
            sample_size=8,
            in_channels=1,
            out_channels=1,
            block_out_channels=(24, 48),
            layers_per_block=1,
            norm_num_groups=8,
            down_block_types=("DownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "UpBlock2D"),
            add_attention=False,
            time_embedding_type="fourier",
        )
        unet.time_proj.weight.data.mul_(FOURIER_SCALE / 16)
    scheduler = ScoreSdeVeScheduler(num_train_timesteps=100, sigma_min=0.01, sigma_max=10.0, snr=0.15, correct_steps=1)
    return DiffusionModel(ScoreNetwork(unet, scheduler), scheduler, "ScoreSdeVePipeline")


def _print_progress(label: str, done: int, total: int, loss: float | None) -> None:
    if done % 250 == 0 or done == total:
        sys.stderr.write(f"{label} {done}/{total} loss {loss:.4f}\n")


def main() -> None:
    """Train, save, and print where to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", help="where to; by default the shipped model is replaced")
    folder = parser.parse_args().folder or BUILTIN / VE_MODEL
    torch.set_num_threads(1)
    model = untrained_model()
    images, _ = load_digits()
    started = time.monotonic()
    train(model.unet, denoising_loss(images, model.scheduler), OPTIONS, seed=0, progress=_print_progress)
    save_model(model, folder)
    print(f"trained in {time.monotonic() - started:.0f} s; wrote {folder}")


if __name__ == "__main__":
    main()
