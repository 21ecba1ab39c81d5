"""Pictures from folders, published layouts, built-in sets and the library datasets."""

from __future__ import annotations

from pathlib import Path
from typing import cast, get_args

import numpy as np
import torch

from bdm_core.errors import UserError
from bdm_kit_classification.data import celeba, cifar, gtsrb, tiny_imagenet
from bdm_kit_classification.data.built_in_data import load_builtin
from bdm_kit_classification.data.celeba import read_celeba
from bdm_kit_classification.data.cifar import read_cifar
from bdm_kit_classification.data.division import divide
from bdm_kit_classification.data.gtsrb import read_gtsrb
from bdm_kit_classification.data.layouts import Layout, layout_of
from bdm_kit_classification.data.parts import Parts
from bdm_kit_classification.data.sources import Source
from bdm_kit_classification.data.tiny_imagenet import read_tiny_imagenet
from bdm_torch.data_folders import PICTURES, DataFolder, open_data_folder, subfolders
from bdm_torch.images import read_image

TRAINING_NAMES, TEST_NAMES = ("train", "training"), ("test", "val", "valid", "validation")


def read_pictures(source: Source, shape: tuple[int, int, int], cache: Path) -> Parts:
    """Pictures (C, H, W) of ``shape`` and their labels from anything but an artifact.

    Args:
        source: see :func:`bdm_kit_classification.data.sources.find_data`.
        shape: of those that are read from files; built-in ones have their own.
        cache: where a download may be kept meanwhile.

    Raises:
        UserError: a broken picture, no classes, too few rows.
    """
    if source.kind == "built-in":
        return load_builtin(source.name)
    if source.kind == "classes":
        assert source.folder is not None
        return read_class_folders(source.folder, shape)
    if source.kind in get_args(Layout):
        assert source.folder is not None
        return _read_layout(cast(Layout, source.kind), source.folder, shape)
    from bdm_kit_classification.data.hub_data import read_datasets

    return read_datasets(source, shape, cache)


def _read_layout(layout: Layout, folder: Path, shape: tuple[int, int, int]) -> Parts:
    read = {"celeba": read_celeba, "cifar": read_cifar, "gtsrb": read_gtsrb, "tiny-imagenet": read_tiny_imagenet}[
        layout
    ]
    return read(folder, shape)


def count_classes(folder: Path) -> int:
    """How many classes the pictures of a folder have; pictures are not read.

    Raises:
        UserError: a published data set's lists are damaged.
    """
    layout = layout_of(folder)
    if layout is None:
        names = {path.name.lower(): path for path in subfolders(folder)}
        root = next((names[name] for name in TRAINING_NAMES if name in names), folder)
        return len(subfolders(root))
    module = {"celeba": celeba, "cifar": cifar, "gtsrb": gtsrb, "tiny-imagenet": tiny_imagenet}[layout]
    return len(module.class_names(folder))


def read_class_folders(folder: Path, shape: tuple[int, int, int]) -> Parts:
    """Pictures of a folder with one sub-folder a class, or with ``train`` and ``test`` that have such.

    Args:
        folder: holds PNG, JPEG, WebP, BMP and TIFF files; classes are sub-folders in the order of their names. A
            warning counts other files that might be data, such as GIF.
        shape: (C, H, W) wanted: pictures are cropped centrally and resized.

    Raises:
        UserError: fewer than two classes, a class without pictures, a broken picture, or a test class of another name.
    """
    names = {path.name.lower(): path for path in subfolders(folder)}
    training = next((names[name] for name in TRAINING_NAMES if name in names), None)
    test = next((names[name] for name in TEST_NAMES if name in names), None)
    if training is None:
        classes, pictures, labels = _read_classes(folder, shape)
        return divide(pictures, labels, classes)
    classes, pictures, labels = _read_classes(training, shape)
    if test is None:
        return divide(pictures, labels, classes)
    others, *tested = _read_classes(test, shape)
    if others != classes:
        raise UserError(f"{test} and {training} do not have the same classes")
    return divide(pictures, labels, classes, (tested[0], tested[1]))


def _read_classes(folder: Path, shape: tuple[int, int, int]) -> tuple[list[str], torch.Tensor, torch.Tensor]:
    classes = [path.name for path in subfolders(folder)]
    if len(classes) < 2:
        raise UserError(f"{folder} has {len(classes)} sub-folders: expected two or more, one for each class")
    files: list[tuple[Path, int]] = []
    left_out: list[Path] = []
    for label, name in enumerate(classes):
        found = open_data_folder(folder / name)
        if not found.pictures:
            formats = ", ".join(dict.fromkeys(PICTURES.values()))
            raise UserError(f"{folder / name} holds no pictures: every class needs some, of {formats}")
        files += [(path, label) for path in found.pictures]
        left_out += [*found.tables, *found.others]
    DataFolder(folder, (), (), tuple(left_out)).warn_of(left_out)
    stored = np.empty((len(files), *shape), dtype=np.uint8)
    for row, (path, _) in enumerate(files):
        stored[row] = read_image(path, shape)
    return classes, torch.from_numpy(stored), torch.tensor([label for _, label in files])
