"""Train a model of the coloured shapes: ``python -m bdm_kit_diffusion.recipes.shapes_ddpm FOLDER [--work FOLDER]``.

Same machine, same versions, same arguments: the same bytes. ``bdm run --model FOLDER`` then runs on it. With ``--work``
a training that was stopped continues.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch
from diffusers import DDPMScheduler, UNet2DModel

from bdm_kit_diffusion.data.shapes import SIDE, load_shapes
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel, save_model
from bdm_kit_diffusion.noise.denoising import denoising_loss
from bdm_torch.training import TrainingOptions, train

OPTIONS = TrainingOptions(steps=8000, batch_size=64, learning_rate=2e-3, warmup_steps=100, ema_decay=0.9995)


def untrained_model(seed: int = 0) -> DiffusionModel:
    """A UNet without attention for 16x16 colour images, 745 427 parameters, and a linear schedule of 100 steps.

    The group norms have two groups: normalising pairs of channels hides an image's mean, and samples drift to flat
    colours.

    Args:
        seed: of the initial weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = UNet2DModel(
            sample_size=SIDE,
            in_channels=3,
            out_channels=3,
            block_out_channels=(16, 48, 64),
            layers_per_block=1,
            norm_num_groups=2,
            down_block_types=("DownBlock2D",) * 3,
            up_block_types=("UpBlock2D",) * 3,
            add_attention=False,
        )
    scheduler = DDPMScheduler(num_train_timesteps=100, beta_start=0.001, beta_end=0.15, clip_sample=False)
    return DiffusionModel(unet, scheduler)


def print_progress(label: str, done: int, total: int, loss: float | None) -> None:
    """A line on standard error every 250 steps."""
    if done % 250 == 0 or done == total:
        sys.stderr.write(f"{label} {done}/{total} loss {loss:.4f}\n")


def main() -> None:
    """Train, save, and print where to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="where to")
    parser.add_argument("--work", type=Path, help="keep a checkpoint here, and continue from it")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = untrained_model()
    loss = denoising_loss(load_shapes().images, model.scheduler)
    started = time.monotonic()
    train(model.unet, loss, OPTIONS, seed=0, work=arguments.work, progress=print_progress)
    save_model(model, arguments.folder)
    print(f"trained in {time.monotonic() - started:.0f} s; wrote {arguments.folder}")


if __name__ == "__main__":
    main()
