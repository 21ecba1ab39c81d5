"""Train the shipped model of coloured shapes: ``python -m bdm_kit_diffusion.recipes.shapes_ddpm [FOLDER]``.

Same machine, same versions, same arguments: the same bytes. Takes about nine minutes on one CPU core.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch
from diffusers import DDPMScheduler, UNet2DModel

from bdm_kit_diffusion.denoising import denoising_loss
from bdm_kit_diffusion.models import SHAPES_MODEL, DiffusionModel, save_model
from bdm_kit_diffusion.references import BUILTIN
from bdm_kit_diffusion.shapes import SIDE, load_shapes
from bdm_kit_diffusion.training import TrainingOptions, train

OPTIONS = TrainingOptions(steps=1500, batch_size=32, learning_rate=2e-3, warmup_steps=100, ema_decay=0.998)


def untrained_model(seed: int = 0) -> DiffusionModel:
    """A UNet without attention for 16x16 colour images, and the usual linear schedule compressed to 100 steps.

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
            norm_num_groups=8,
            down_block_types=("DownBlock2D",) * 3,
            up_block_types=("UpBlock2D",) * 3,
            add_attention=False,
        )
    scheduler = DDPMScheduler(num_train_timesteps=100, beta_start=0.001, beta_end=0.2, clip_sample=False)
    return DiffusionModel(unet, scheduler)


def _print_progress(label: str, done: int, total: int, loss: float | None) -> None:
    if done % 250 == 0 or done == total:
        sys.stderr.write(f"{label} {done}/{total} loss {loss:.4f}\n")


def main() -> None:
    """Train, save, and print where to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=BUILTIN / SHAPES_MODEL)
    folder = parser.parse_args().folder
    torch.set_num_threads(1)
    model = untrained_model()
    loss = denoising_loss(load_shapes().images, model.scheduler)
    started = time.monotonic()
    train(model.unet, loss, OPTIONS, seed=0, progress=_print_progress)
    save_model(model, folder)
    print(f"trained in {time.monotonic() - started:.0f} s; wrote {folder}")


if __name__ == "__main__":
    main()
