"""Train the shipped digits models: ``python -m bdm_kit_diffusion.recipes.digits_ddpm [--tiny] [FOLDER]``.

Same machine, same versions, same arguments: the same bytes. Takes about four minutes on one CPU core, ``--tiny`` half
a minute.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch
from diffusers import DDPMScheduler, UNet2DModel

from bdm_kit_diffusion.built_in import BUILTIN
from bdm_kit_diffusion.catalogue import DEFAULT_MODEL, TINY_MODEL
from bdm_kit_diffusion.data.built_in_data import load_digits
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel, save_model
from bdm_kit_diffusion.noise.denoising import denoising_loss
from bdm_torch.training import TrainingOptions, train

OPTIONS = {
    DEFAULT_MODEL: TrainingOptions(steps=3000, batch_size=64, learning_rate=2e-3, warmup_steps=100, ema_decay=0.999),
    TINY_MODEL: TrainingOptions(steps=2000, batch_size=64, learning_rate=4e-3, warmup_steps=100, ema_decay=0.995),
}

SIZES = {DEFAULT_MODEL: ((32, 64), 100), TINY_MODEL: ((8, 16), 20), "digits-small": ((16, 32), 100)}
"""Channels of the two levels, and T."""


def untrained_model(name: str = DEFAULT_MODEL, seed: int = 0) -> DiffusionModel:
    """A UNet without attention for 8x8 grey images, and the usual linear schedule of 1000 steps, compressed.

    Args:
        name: ``digits-ddpm``: 634 273 parameters, T = 100. ``digits-tiny``: 40 489 parameters, T = 20.
            ``digits-small``: 159 697 parameters, T = 100; it is not shipped, benchmarks train it.
        seed: of the initial weights.
    """
    channels, timesteps = SIZES[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = UNet2DModel(
            sample_size=8,
            in_channels=1,
            out_channels=1,
            block_out_channels=channels,
            layers_per_block=1,
            norm_num_groups=8,
            down_block_types=("DownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "UpBlock2D"),
            add_attention=False,
        )
    last = min(20 / timesteps, 0.7)
    scheduler = DDPMScheduler(
        num_train_timesteps=timesteps, beta_start=0.1 / timesteps, beta_end=last, clip_sample=False
    )
    return DiffusionModel(unet, scheduler)


def _print_progress(label: str, done: int, total: int, loss: float | None) -> None:
    if done % 250 == 0 or done == total:
        sys.stderr.write(f"{label} {done}/{total} loss {loss:.4f}\n")


def main() -> None:
    """Train, save, and print where to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", help="where to; by default the shipped model is replaced")
    parser.add_argument("--tiny", action="store_true", help="train the smaller model, which the tests use")
    arguments = parser.parse_args()
    name = TINY_MODEL if arguments.tiny else DEFAULT_MODEL
    folder = arguments.folder or BUILTIN / name
    torch.set_num_threads(1)
    model = untrained_model(name)
    images, _ = load_digits()
    started = time.monotonic()
    train(model.unet, denoising_loss(images, model.scheduler), OPTIONS[name], seed=0, progress=_print_progress)
    save_model(model, folder)
    print(f"trained in {time.monotonic() - started:.0f} s; wrote {folder}")


if __name__ == "__main__":
    main()
