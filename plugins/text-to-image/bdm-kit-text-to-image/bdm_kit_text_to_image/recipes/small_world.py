"""Train the shipped text-to-image pipeline: ``python -m bdm_kit_text_to_image.recipes.small_world [FOLDER]``.

Same machine, same versions, same arguments: the same bytes. Takes about a quarter of an hour on one CPU core. If it is
stopped, the same command with the same ``--work`` folder continues.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from bdm_kit_text_to_image.built_in import BUILTIN
from bdm_kit_text_to_image.models.latents import encode_images
from bdm_kit_text_to_image.models.opening import DEFAULT_MODEL
from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel, save_model
from bdm_kit_text_to_image.recipes.small_world_parts import (
    Autoencoder,
    Denoiser,
    autoencoder_loss,
    captioned,
    joint_loss,
    untrained_model,
)
from bdm_kit_text_to_image.world.drawing import render
from bdm_kit_text_to_image.world.splits import training_pairs
from bdm_torch.training import TrainingOptions, train

SCENES = 24_000
WAYS = 4
"""Captions of a scene."""
AUTOENCODER = TrainingOptions(
    steps=1800, batch_size=48, learning_rate=3e-3, warmup_steps=100, ema_decay=0.995, checkpoint_seconds=60
)
PIPELINE = TrainingOptions(
    steps=3600, batch_size=48, learning_rate=2e-3, warmup_steps=200, ema_decay=0.998, checkpoint_seconds=60
)

REFINEMENT = TrainingOptions(
    steps=2900, batch_size=48, learning_rate=1.5e-3, warmup_steps=100, ema_decay=0.998, checkpoint_seconds=60
)
REFINEMENT_WEIGHT = 5.0


def _print_progress(label: str, done: int, total: int, loss: float | None) -> None:
    if done % 250 == 0 or done == total:
        sys.stderr.write(f"{label} {done}/{total} loss {loss:.4f}\n")
        sys.stderr.flush()


def train_small_world(
    work: Path | None = None,
    *,
    scenes: int = SCENES,
    autoencoder: TrainingOptions = AUTOENCODER,
    pipeline: TrainingOptions = PIPELINE,
    refinement: TrainingOptions = REFINEMENT,
    seed: int = 0,
) -> TextToImageModel:
    """First the VAE, then text encoder and UNet together on its latents, and these once more with weighted timesteps.

    Args:
        work: folder of the checkpoints; None for none.
        scenes: how many training images.
        autoencoder: how the VAE is trained.
        pipeline: how text encoder and UNet are trained first.
        refinement: how they are trained then, by which outlines and second objects appear reliably.
        seed: of weights and training; the scenes are always the same.
    """
    shown, texts = training_pairs(scenes)
    images = render(shown)
    model = untrained_model(texts, seed)
    train(
        Autoencoder(model.vae),
        autoencoder_loss(images),
        replace(autoencoder, label="vae"),
        seed=seed,
        work=work,
        progress=_print_progress,
    )
    latents = scale_latents(model, images)
    data = captioned(model, shown, latents, WAYS, seed)
    denoiser = Denoiser(model.text_encoders[0], model.unet)
    for label, options, weight in (("pipeline", pipeline, 1.0), ("refinement", refinement, REFINEMENT_WEIGHT)):
        train(
            denoiser,
            joint_loss(data, model.scheduler, weight),
            replace(options, label=label),
            seed=seed,
            work=work,
            progress=_print_progress,
        )
    return model


def scale_latents(model: TextToImageModel, images: Tensor) -> Tensor:
    """Set the VAE's scaling factor to 1 / std, over all images, channels and pixels; returns the scaled latents."""
    model.vae.register_to_config(scaling_factor=1.0)
    with torch.no_grad():
        latents = encode_images(model, images)
    factor = round(float(1 / latents.std()), 6)
    model.vae.register_to_config(scaling_factor=factor)
    return latents * factor


def main() -> None:
    """Train, save, and print where to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", help="where to; by default the shipped pipeline is replaced")
    parser.add_argument("--work", type=Path, help="folder of the checkpoints of an interrupted training")
    arguments = parser.parse_args()
    folder = arguments.folder or BUILTIN / DEFAULT_MODEL
    torch.set_num_threads(1)
    started = time.monotonic()
    model = train_small_world(arguments.work)
    save_model(model, folder)
    print(f"trained in {time.monotonic() - started:.0f} s; wrote {folder}")


if __name__ == "__main__":
    main()
