"""Train the shipped digits model: ``python -m bdm_kit_diffusion.recipes.digits_ddpm [FOLDER]``.

Same machine, same versions, same arguments: the same bytes. Takes about four minutes on one CPU core.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch
from diffusers import DDPMScheduler, UNet2DModel

from bdm_kit_diffusion.data import load_digits
from bdm_kit_diffusion.denoising import denoising_loss
from bdm_kit_diffusion.models import DEFAULT_MODEL, DiffusionModel, save_model
from bdm_kit_diffusion.references import BUILTIN
from bdm_kit_diffusion.training import TrainingOptions, train

TIMESTEPS = 100
OPTIONS = TrainingOptions(steps=3000, batch_size=64, learning_rate=2e-3, warmup_steps=100, ema_decay=0.999)


def untrained_model(seed: int = 0, channels: tuple[int, ...] = (32, 64)) -> DiffusionModel:
    """A UNet without attention for 8x8 grey images, and the linear schedule of 1000 steps compressed to 100."""
    torch.manual_seed(seed)
    unet = UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        block_out_channels=channels,
        layers_per_block=1,
        norm_num_groups=8,
        down_block_types=("DownBlock2D",) * len(channels),
        up_block_types=("UpBlock2D",) * len(channels),
        add_attention=False,
    )
    scheduler = DDPMScheduler(
        num_train_timesteps=TIMESTEPS, beta_start=0.1 / TIMESTEPS, beta_end=20 / TIMESTEPS, clip_sample=False
    )
    return DiffusionModel(unet, scheduler)


def _print_progress(label: str, done: int, total: int, loss: float | None) -> None:
    if done % 250 == 0 or done == total:
        sys.stderr.write(f"{label} {done}/{total} loss {loss:.4f}\n")


def main() -> None:
    """Train, save, and print where to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=BUILTIN / DEFAULT_MODEL)
    folder = parser.parse_args().folder
    torch.set_num_threads(1)
    model = untrained_model()
    images, _ = load_digits()
    started = time.monotonic()
    train(model.unet, denoising_loss(images, model.scheduler), OPTIONS, seed=0, progress=_print_progress)
    save_model(model, folder)
    print(f"trained in {time.monotonic() - started:.0f} s; wrote {folder}")


if __name__ == "__main__":
    main()
