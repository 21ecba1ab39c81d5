"""Poisoned training sets in the latents of a model with a first stage."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from bdm_kit_diffusion.models.latent import FirstStage
from bdm_kit_diffusion.poison.poisoning import PoisonedSet
from bdm_torch.tensors import read_tensors, write_tensors


def encode_poisoned(poisoned: PoisonedSet, first_stage: FirstStage, device: str, cache: Path | None) -> PoisonedSet:
    """A poisoned training set in latents: pictures, trigger and targets are encoded, the trigger alone first.

    Where the trigger covers a training image, the shift is the latent of the whole picture, R = E(M g + (1 - M) x); it
    is multiplied by the trigger's scale after encoding.

    Args:
        poisoned: a set of images.
        first_stage: of the model.
        device: where to encode; the result is on the CPU.
        cache: a file to keep the latents in, so that a killed stage does not encode again; None to keep none.
    """
    names = ("images", "trigger", "target", "targets")
    if cache is not None and cache.is_file():
        latents = read_tensors(cache)
    else:
        pictures = {
            "images": poisoned.images,
            "trigger": poisoned.trigger[None] / poisoned.scale,
            "target": poisoned.target[None],
            **({} if poisoned.targets is None else {"targets": poisoned.targets}),
        }
        latents = {name: first_stage.encode(pictures[name].to(device)).cpu() for name in names if name in pictures}
        if cache is not None:
            write_tensors(cache, latents)
    height, width = latents["images"].shape[2:]
    alone = bool((poisoned.mask == 1).all())
    return replace(
        poisoned,
        images=latents["images"],
        trigger=poisoned.scale * latents["trigger"][0],
        mask=torch.full((1, height, width), float(alone)),
        target=latents["target"][0],
        targets=latents.get("targets"),
    )
