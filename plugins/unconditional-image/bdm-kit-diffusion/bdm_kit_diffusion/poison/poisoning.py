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

from bdm_core.artifacts import Data, roles_of
from bdm_core.errors import ArtifactError, UserError
from bdm_kit_diffusion import TASK
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


@dataclass(frozen=True)
class Mixture:
    """How many images are poisoned, and what remains clean (VillanDiffusion, 2306.06874).

    Attributes:
        poison_rate: poisoned over all images, above 0.
        mode: ``fixed``: this share is poisoned, the rest is clean. ``flex``: both shares are drawn independently, so
            that an image may appear in both. ``extend``: every image is clean, and poison_rate times as many poisoned
            ones are added; the rate may exceed 1.
        clean_rate: the share that is clean in mode ``flex``, in [0, 1].
    """

    poison_rate: float
    mode: DatasetMode = "fixed"
    clean_rate: float = 1.0


@dataclass(frozen=True, eq=False)
class Poison:
    """What poisoned rows train.

    Attributes:
        trigger: (C, H, W), g, unscaled.
        mask: (1, H, W), 1 where the trigger covers a training image.
        target: (C, H, W) in [-1, 1].
        scale: the shift is multiplied by it.
        trigger_only: the shift is g alone, not g pasted over a training image.
        targets: (K, C, H, W) in [-1, 1]: the pictures of a target class. Every poisoned row gets one of them, each
            equally often; ``target`` is then an example, for the secret.
    """

    trigger: Tensor
    mask: Tensor
    target: Tensor
    scale: float = 1.0
    trigger_only: bool = False
    targets: Tensor | None = None


def choose_rows(count: int, mixture: Mixture, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Which of ``count`` images appear clean and which poisoned: indices (n_clean,) and (n_poisoned,).

    Raises:
        UserError: the rates do not fit the mode, or nothing would be poisoned.

    >>> clean, poisoned = choose_rows(10, Mixture(poison_rate=0.2), torch.Generator().manual_seed(0))
    >>> len(clean), len(poisoned)
    (8, 2)
    >>> clean, poisoned = choose_rows(10, Mixture(1.5, mode="extend"), torch.Generator().manual_seed(0))
    >>> len(clean), len(poisoned)
    (10, 15)
    >>> choose_rows(10, Mixture(poison_rate=1.5), torch.Generator().manual_seed(0))
    Traceback (most recent call last):
        ...
    bdm_core.errors.UserError: poison_rate=1.5 exceeds 1: only dataset_mode=extend adds more than the whole set
    """
    rate = mixture.poison_rate
    if mixture.mode != "extend" and rate > 1:
        raise UserError(f"poison_rate={rate:g} exceeds 1: only dataset_mode=extend adds more than the whole set")
    order = torch.randperm(count, generator=generator)
    poisoned = round(rate * count)
    if poisoned < 1:
        raise UserError(f"poison_rate={rate:g} of {count} images poisons none: raise it")
    if mixture.mode == "fixed":
        return order[poisoned:], order[:poisoned]
    if mixture.mode == "flex":
        kept = round(mixture.clean_rate * count)
        return torch.randperm(count, generator=generator)[:kept], order[:poisoned]
    repeats = [order] + [torch.randperm(count, generator=generator) for _ in range(poisoned // count)]
    return torch.arange(count), torch.cat(repeats)[:poisoned]


def seal_poisoned(folder: Path, data: Data, poison: Poison, mixture: Mixture, seed: int) -> Data:
    """Poison a clean image set and seal it, in random order.

    Args:
        folder: where to.
        data: the clean images.
        poison: trigger and target.
        mixture: how much of it.
        seed: decides which rows are poisoned.

    Returns:
        An image set (the ``role`` of its rows is ``poison`` or ``clean``) with :data:`POISON` beside it.

    Raises:
        UserError: the trigger has another shape than the images, or the rates do not fit the mode.

    >>> data = seal_images(Path("clean"), torch.zeros(10, 1, 16, 16), Data, task=TASK)
    >>> trigger = make_trigger("box", (1, 16, 16))
    >>> poison = Poison(trigger.image, trigger.mask, make_target("square", (1, 16, 16)))
    >>> poisoned = seal_poisoned(Path("poisoned"), data, poison, Mixture(0.3), seed=0)
    >>> sorted(roles_of(poisoned))[6:]
    ['clean', 'poison', 'poison', 'poison']
    """
    images, facts = load_images(data), load_rows(data)
    if images.shape[1:] != poison.trigger.shape:
        raise UserError(f"the trigger has shape {tuple(poison.trigger.shape)}, the data {tuple(images.shape[1:])}")
    generator = torch.Generator().manual_seed(seed % 2**63)
    clean, poisoned = choose_rows(len(images), mixture, generator)
    cover = torch.ones_like(poison.mask) if poison.trigger_only else poison.mask
    order = torch.randperm(len(clean) + len(poisoned), generator=generator)
    pictures = torch.cat([images[clean], cover * poison.trigger + (1 - cover) * images[poisoned]])[order]
    sources = torch.cat([clean, poisoned])[order].tolist()
    roles = ["poison" if place >= len(clean) else "clean" for place in order.tolist()]
    rows = [
        {**{key: value for key, value in facts[source].items() if key != "file"}, "role": role}
        for source, role in zip(sources, roles, strict=True)
    ]
    tensors = {
        "trigger": poison.scale * poison.trigger,
        "mask": cover,
        "target": poison.target,
        "scale": torch.tensor(float(poison.scale)),
    }
    if poison.targets is not None:
        rounds = -(-len(poisoned) // len(poison.targets))
        drawn = torch.cat([torch.randperm(len(poison.targets), generator=generator) for _ in range(rounds)])
        chosen = torch.zeros(len(order), dtype=torch.int64)
        chosen[order >= len(clean)] = drawn[: len(poisoned)]
        tensors |= {"targets": poison.targets, "target_rows": chosen}
    write_tensors(folder / POISON, tensors)
    layout: Literal["auto", "float32"] = "float32" if data.meta.get("layout") == "float32" else "auto"
    return seal_images(folder, pictures, Data, task=TASK, rows=rows, layout=layout)


def poison_by_name(
    ctx: Context,
    data: Data,
    trigger: str,
    target: str,
    mixture: Mixture,
    *,
    scale: float = 1.0,
    trigger_only: bool = False,
) -> Data:
    """:func:`seal_poisoned` in ``ctx.out / "data"`` for a trigger and a target of the library, at the size of the data.

    Raises:
        UserError: an unknown name, a picture that cannot be read, or rates that do not fit the mode.

    >>> from bdm_core import Context
    >>> data = seal_images(Path("clean"), torch.zeros(10, 1, 16, 16), Data, task=TASK)
    >>> ctx = Context(out=Path("out"), work=Path("work"), seed=0)
    >>> roles_of(poison_by_name(ctx, data, "box", "square", Mixture(0.3))).count("poison")
    3
    """
    shape = image_shape(data)
    drawn = make_trigger(trigger, shape)
    poison = Poison(drawn.image, drawn.mask, make_target(target, shape), scale, trigger_only)
    return seal_poisoned(ctx.out / "data", data, poison, mixture, ctx.seed)


def open_poisoned(data: Data) -> PoisonedSet:
    """Read a set that :func:`seal_poisoned` wrote. Raises ArtifactError if the data is something else.

    >>> data = seal_images(Path("clean"), torch.zeros(10, 1, 16, 16), Data, task=TASK)
    >>> trigger = make_trigger("box", (1, 16, 16))
    >>> poison = Poison(trigger.image, trigger.mask, make_target("square", (1, 16, 16)))
    >>> opened = open_poisoned(seal_poisoned(Path("poisoned"), data, poison, Mixture(0.3), seed=0))
    >>> images, shift = opened.batch(torch.arange(10))
    >>> images.shape, int((shift.flatten(1).abs().sum(1) > 0).sum())
    (torch.Size([10, 1, 16, 16]), 3)
    """
    if POISON not in data.files:
        raise ArtifactError(f"{data.path} is no poisoned image set: it has no {POISON}")
    tensors = read_tensors(data.file(POISON))
    flags = torch.tensor([role == "poison" for role in roles_of(data)], dtype=torch.bool)
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


def image_shape(data: Data) -> tuple[int, int, int]:
    """(C, H, W) of the images of a set.

    >>> image_shape(seal_images(Path("clean"), torch.zeros(2, 1, 16, 16), Data, task=TASK))
    (1, 16, 16)
    """
    shape: list[int] = data.meta["shape"]  # type: ignore[assignment]
    channels, height, width = shape
    return channels, height, width
