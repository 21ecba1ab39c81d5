"""Poisoned training sets: which images are poisoned, with which trigger, towards which target.

A poisoned row trains the pair (shift, target): x_t moves by rho_t * shift and the image underneath is the target. The
shift is the trigger pasted over a training image, M g + (1 - M) x, or the trigger image g alone. The poisoned rows of
the sealed image set show that picture; g, M and the target lie beside it at full precision.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from bdm_core.artifacts import Data, Secret
from bdm_core.errors import ArtifactError, UserError
from bdm_kit_diffusion import TASK
from bdm_kit_diffusion.noise.initial_noise import load_noise, seal_noise
from bdm_kit_diffusion.poison.secret import open_secret
from bdm_torch.image_sets import load_images, load_rows, seal_images
from bdm_torch.pictures.targets import make_target
from bdm_torch.pictures.triggers import make_trigger
from bdm_torch.tensors import read_tensors, write_tensors

if TYPE_CHECKING:
    from bdm_core.context import Context

DatasetMode = Literal["fixed", "flex", "extend"]
POISON = "poison.safetensors"


@dataclass(frozen=True, eq=False)
class PoisonedSet:
    """A poisoned training set.

    Attributes:
        images: (N, C, H, W) in [-1, 1]: clean images, and in poisoned rows the picture with the trigger.
        poisoned: (N,) bool.
        trigger: (C, H, W), the trigger image g times its scale.
        mask: (1, H, W), 1 where the trigger covers a training image.
        target: (C, H, W) in [-1, 1]; of a target class an example.
        scale: of the trigger; a pasted-on image is multiplied by it too, the picture itself is not.
        targets: (K, C, H, W) in [-1, 1], the pictures of a target class; None for the one target.
        target_rows: (N,) int64, which of the targets a poisoned row has.
    """

    images: Tensor
    poisoned: Tensor
    trigger: Tensor
    mask: Tensor
    target: Tensor
    scale: float = 1.0
    targets: Tensor | None = None
    target_rows: Tensor | None = None

    def batch(self, rows: Tensor, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        """(x_0, shift) of some rows, each (b, C, H, W): their target in place of poisoned images; 0 for clean rows."""
        flags = self.poisoned[rows].to(device).view(-1, 1, 1, 1)
        images = self.images[rows].to(device)
        mask = self.mask.to(device)
        shift = mask * self.trigger.to(device) + (1 - mask) * self.scale * images
        target = self.target
        if self.targets is not None and self.target_rows is not None:
            target = self.targets[self.target_rows[rows]]
        return torch.where(flags, target.to(device), images), torch.where(flags, shift, 0.0)


def choose_rows(
    count: int, mode: DatasetMode, poison_rate: float, clean_rate: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Which of ``count`` images appear clean and which poisoned: indices (n_clean,) and (n_poisoned,).

    ``fixed``: a share ``poison_rate`` is poisoned, the rest is clean (``clean_rate`` does not count). ``flex``: both
    shares are drawn independently, so an image may appear in both. ``extend``: every image is clean, and poison_rate
    times as many poisoned ones are added; the rate may exceed 1 (VillanDiffusion, 2306.06874).

    Raises:
        UserError: the rates do not fit the mode, or nothing would be poisoned.
    """
    if mode != "extend" and poison_rate > 1:
        raise UserError(f"poison_rate={poison_rate:g} exceeds 1: only dataset_mode=extend adds more than the whole set")
    order = torch.randperm(count, generator=generator)
    poisoned = round(poison_rate * count)
    if poisoned < 1:
        raise UserError(f"poison_rate={poison_rate:g} of {count} images poisons none: raise it")
    if mode == "fixed":
        return order[poisoned:], order[:poisoned]
    if mode == "flex":
        return torch.randperm(count, generator=generator)[: round(clean_rate * count)], order[:poisoned]
    repeats = [order] + [torch.randperm(count, generator=generator) for _ in range(poisoned // count)]
    return torch.arange(count), torch.cat(repeats)[:poisoned]


def seal_poisoned(
    folder: Path,
    data: Data,
    *,
    trigger: Tensor,
    mask: Tensor,
    target: Tensor,
    seed: int,
    poison_rate: float,
    mode: DatasetMode = "fixed",
    clean_rate: float = 1.0,
    trigger_only: bool = False,
    scale: float = 1.0,
    targets: Tensor | None = None,
) -> Data:
    """Poison a clean image set and seal it, in random order.

    Args:
        folder: where to.
        data: the clean images.
        trigger: (C, H, W), g, unscaled; mask: (1, H, W); target: (C, H, W) in [-1, 1].
        seed: decides which rows are poisoned.
        poison_rate, mode, clean_rate: see :func:`choose_rows`.
        trigger_only: the shift is g alone, not g pasted over a training image.
        scale: the shift is multiplied by it.
        targets: (K, C, H, W) in [-1, 1]: the pictures of a target class. Every poisoned row gets one of them, each
            equally often; ``target`` is then an example, for the secret.

    Returns:
        An image set (its rows say ``"poisoned": true`` or ``false``) with :data:`POISON` beside it.
    """
    images, facts = load_images(data), load_rows(data)
    if images.shape[1:] != trigger.shape:
        raise UserError(f"the trigger has shape {tuple(trigger.shape)}, the data {tuple(images.shape[1:])}")
    generator = torch.Generator().manual_seed(seed % 2**63)
    clean, poisoned = choose_rows(len(images), mode, poison_rate, clean_rate, generator)
    cover = torch.ones_like(mask) if trigger_only else mask
    order = torch.randperm(len(clean) + len(poisoned), generator=generator)
    pictures = torch.cat([images[clean], cover * trigger + (1 - cover) * images[poisoned]])[order]
    sources = torch.cat([clean, poisoned])[order].tolist()
    flags = (order >= len(clean)).tolist()
    rows = [
        {**{key: value for key, value in facts[source].items() if key != "file"}, "poisoned": flag}
        for source, flag in zip(sources, flags, strict=True)
    ]
    tensors = {"trigger": scale * trigger, "mask": cover, "target": target, "scale": torch.tensor(float(scale))}
    if targets is not None:
        rounds = -(-len(poisoned) // len(targets))
        drawn = torch.cat([torch.randperm(len(targets), generator=generator) for _ in range(rounds)])
        chosen = torch.zeros(len(order), dtype=torch.int64)
        chosen[order >= len(clean)] = drawn[: len(poisoned)]
        tensors |= {"targets": targets, "target_rows": chosen}
    write_tensors(folder / POISON, tensors)
    layout: Literal["auto", "float32"] = "float32" if data.meta.get("layout") == "float32" else "auto"
    return seal_images(folder, pictures, Data, task=TASK, rows=rows, layout=layout)


def poison_by_name(
    ctx: Context,
    data: Data,
    *,
    trigger: str,
    target: str,
    poison_rate: float,
    mode: DatasetMode = "fixed",
    clean_rate: float = 1.0,
    trigger_only: bool = False,
    scale: float = 1.0,
) -> Data:
    """:func:`seal_poisoned` in ``ctx.out / "data"`` for a trigger and a target of the library, at the size of the data.

    Raises:
        UserError: an unknown name, a picture that cannot be read, or rates that do not fit the mode.
    """
    shape = image_shape(data)
    drawn = make_trigger(trigger, shape)
    return seal_poisoned(
        ctx.out / "data",
        data,
        trigger=drawn.image,
        mask=drawn.mask,
        target=make_target(target, shape),
        seed=ctx.seed,
        poison_rate=poison_rate,
        mode=mode,
        clean_rate=clean_rate,
        trigger_only=trigger_only,
        scale=scale,
    )


def open_poisoned(data: Data) -> PoisonedSet:
    """Read a set that :func:`seal_poisoned` wrote. Raises ArtifactError if the data is something else."""
    if POISON not in data.files:
        raise ArtifactError(f"{data.path} is no poisoned image set: it has no {POISON}")
    tensors = read_tensors(data.file(POISON))
    flags = torch.tensor([row["poisoned"] for row in load_rows(data)], dtype=torch.bool)
    return PoisonedSet(
        load_images(data),
        flags,
        tensors["trigger"],
        tensors["mask"],
        tensors["target"],
        float(tensors["scale"]),
        tensors.get("targets"),
        tensors.get("target_rows"),
    )


def trigger_noise(ctx: Context, data: Data, secret: Secret) -> Data:
    """Put the secret's trigger into every row of initial noise, in the same order; sealed in ``ctx.out / "data"``."""
    return seal_noise(ctx.out / "data", open_secret(secret).add_to(load_noise(data)))


def image_shape(data: Data) -> tuple[int, int, int]:
    """(C, H, W) of the images of a set."""
    shape: list[int] = data.meta["shape"]  # type: ignore[assignment]
    channels, height, width = shape
    return channels, height, width
