"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009) in their binary version, which holds no pickles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from bdm_core.errors import UserError
from bdm_kit_classification.data.division import divide
from bdm_kit_classification.data.layouts import cifar_place
from bdm_kit_classification.data.listed import read_lines
from bdm_kit_classification.data.parts import Parts
from bdm_torch.images import fit_image

PICTURE = (3, 32, 32)
TEN = ([f"data_batch_{number}.bin" for number in range(1, 6)], "test_batch.bin", "batches.meta.txt")
HUNDRED = (["train.bin"], "test.bin", "fine_label_names.txt")
"""Files of training rows, of test rows, and of the classes' names."""
LARGEST = 2**30
Bytes = np.ndarray[Any, np.dtype[Any]]


def class_names(folder: Path) -> list[str]:
    """The names of the 10 or 100 classes.

    Raises:
        UserError: there are more or fewer.
    """
    place, hundred = _place(folder)
    path, expected = place / (HUNDRED if hundred else TEN)[2], 100 if hundred else 10
    names = read_lines(path)
    if len(names) != expected:
        raise UserError(f"{path} has {len(names)} names of classes: expected {expected}")
    return names


def read_cifar(folder: Path, shape: tuple[int, int, int]) -> Parts:
    """Training and reserve from the training files, test from the test file; of CIFAR-100 the fine labels.

    Args:
        folder: with the binary files, or with the folder that their archive makes.
        shape: (C, H, W) wanted; pictures are 3x32x32 and resized to it.

    Raises:
        UserError: a file is missing, of a wrong size, or has a label without a name.
    """
    place, hundred = _place(folder)
    training, test, _ = HUNDRED if hundred else TEN
    names = class_names(folder)
    parts = [_read(place / name, 2 if hundred else 1, len(names)) for name in training]
    pictures, labels = (np.concatenate(item) for item in zip(*parts, strict=True))
    tested, true = _read(place / test, 2 if hundred else 1, len(names))
    test_part = _fitted(tested, shape), torch.from_numpy(true)
    return divide(_fitted(pictures, shape), torch.from_numpy(labels), names, test_part)


def _place(folder: Path) -> tuple[Path, bool]:
    place = cifar_place(folder)
    if place is None:
        raise UserError(f"{folder} holds no binary files of CIFAR")
    return place, (place / "train.bin").is_file()


def _read(path: Path, labels: int, classes: int) -> tuple[Bytes, Bytes]:
    """Pictures uint8 (N, 3, 32, 32) and labels int64 (N,) of one file; the last of ``labels`` bytes is the label."""
    record = labels + int(np.prod(PICTURE))
    try:
        size = path.stat().st_size
        if not size or size % record or size > LARGEST:
            raise UserError(
                f"{path} has {size} bytes: expected a multiple of {record}, the size of a record, up to 1 GiB; it is "
                "cut off, or no binary file of CIFAR"
            )
        rows = np.fromfile(path, dtype=np.uint8).reshape(-1, record)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
    found = rows[:, labels - 1].astype(np.int64)
    if int(found.max()) >= classes:
        raise UserError(f"{path} has the label {int(found.max())}, and there are {classes} classes")
    return rows[:, labels:].reshape(-1, *PICTURE), found


def _fitted(pictures: Bytes, shape: tuple[int, int, int]) -> torch.Tensor:
    if shape == PICTURE:
        return torch.from_numpy(np.ascontiguousarray(pictures))
    stored = np.empty((len(pictures), *shape), dtype=np.uint8)
    for row, picture in enumerate(pictures):
        stored[row] = fit_image(Image.fromarray(picture.transpose(1, 2, 0)), shape)
    return torch.from_numpy(stored)
