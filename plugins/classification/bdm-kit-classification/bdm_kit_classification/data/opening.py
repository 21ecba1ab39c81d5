"""Bring data into an artifact: three disjoint parts in the shape that the model takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from bdm_core.artifacts import Data, Model
from bdm_core.errors import UserError
from bdm_kit_classification.data import cifar, gtsrb, tiny_imagenet
from bdm_kit_classification.data.built_in_data import Parts, load_builtin
from bdm_kit_classification.data.cifar import read_cifar
from bdm_kit_classification.data.class_names import matching, relabelled
from bdm_kit_classification.data.division import divide
from bdm_kit_classification.data.gtsrb import read_gtsrb
from bdm_kit_classification.data.layouts import Layout, layout_of
from bdm_kit_classification.data.samples import RESERVE, TEST, TRAINING, LabelledSamples, open_samples, seal_samples
from bdm_kit_classification.data.sources import Source, find_data
from bdm_kit_classification.data.tiny_imagenet import read_tiny_imagenet
from bdm_torch.data_folders import open_data_folder
from bdm_torch.images import read_image

TRAINING_NAMES, TEST_NAMES = ("train", "training"), ("test", "val", "valid", "validation")


def open_image_data(
    source: Source, model: Model, folder: Path, cache: Path, *, most: int | None = None, size: int | None = None
) -> Data:
    """Read pictures and seal them in ``folder``.

    Args:
        source: see :func:`bdm_kit_classification.data.sources.find_data`.
        model: its manifest has shape and classes.
        folder: where to.
        cache: where a download may be kept meanwhile.
        most: keep at most so many training rows.
        size: height and width of the pictures of folders; None for the model's.

    Raises:
        UserError: a broken picture, no classes, other classes than the model's, too few rows. Classes of the same names
            in another order get the model's numbers.
    """
    shape: Any = model.meta["shape"]
    wanted = (int(shape[0]), *((size, size) if size else (int(shape[1]), int(shape[2]))))
    parts: dict[str, LabelledSamples] = {}
    if source.kind == "sealed":
        assert source.folder is not None
        data = Data.open(source.folder)
        if data.format != TRAINING or data.task != model.task:
            raise UserError(f"{source.folder} holds {data.format!r} of {data.task}, expected {TRAINING!r}")
        rows = open_samples(data)
        parts = {name: open_samples(data, name) for name in (RESERVE, TEST) if name in data.meta}
    else:
        found = _read(source, wanted, cache)
        rows, parts[RESERVE], parts[TEST] = (
            LabelledSamples(stored, labels, found.classes, model.task, [{"id": row} for row in range(len(labels))])
            for stored, labels in found[:3]
        )
    if len(rows.classes) != len(model.meta["classes"]):  # type: ignore[arg-type]
        raise UserError(
            f"{source.name} has {len(rows.classes)} classes, the model {len(model.meta['classes'])}: "  # type: ignore[arg-type]
            "choose other data with --data, or another model with --model"
        )
    classes: Any = model.meta["classes"]
    numbers = matching(rows.classes, classes, source.name)
    if numbers != list(range(len(numbers))):
        rows = relabelled(rows, numbers, classes)
        parts = {name: relabelled(part, numbers, classes) for name, part in parts.items()}
    if most is not None and most < len(rows):
        rows = rows.pick(range(most))
    return seal_samples(folder, rows, parts=parts, meta={"source": source.name})


def open_reference(reference: str | None, model: Model, folder: Path, cache: Path) -> Data:
    """:func:`open_image_data` of a reference as ``--data`` takes it."""
    return open_image_data(find_data(reference, model), model, folder, cache)


def _read(source: Source, shape: tuple[int, int, int], cache: Path) -> Parts:
    if source.kind == "built-in":
        return load_builtin(source.name)
    if source.kind == "classes":
        assert source.folder is not None
        return read_class_folders(source.folder, shape)
    if source.kind in ("cifar", "gtsrb", "tiny-imagenet"):
        assert source.folder is not None
        return _read_layout(source.kind, source.folder, shape)
    from bdm_kit_classification.data.hub_data import read_datasets

    return read_datasets(source, shape, cache)


def _read_layout(layout: Layout, folder: Path, shape: tuple[int, int, int]) -> Parts:
    read = {"cifar": read_cifar, "gtsrb": read_gtsrb, "tiny-imagenet": read_tiny_imagenet}[layout]
    return read(folder, shape)


def count_classes(folder: Path) -> int:
    """How many classes the pictures of a folder have; pictures are not read.

    Raises:
        UserError: a published data set's lists are damaged.
    """
    layout = layout_of(folder)
    if layout is None:
        names = {path.name.lower(): path for path in folder.iterdir() if path.is_dir()}
        root = next((names[name] for name in TRAINING_NAMES if name in names), folder)
        return sum(path.is_dir() and not path.name.startswith(".") for path in root.iterdir())
    module = {"cifar": cifar, "gtsrb": gtsrb, "tiny-imagenet": tiny_imagenet}[layout]
    return len(module.class_names(folder))


def read_class_folders(folder: Path, shape: tuple[int, int, int]) -> Parts:
    """Pictures of a folder with one sub-folder a class, or with ``train`` and ``test`` that have such.

    Args:
        folder: holds PNG, JPEG, WebP, BMP and TIFF files; classes are sub-folders in the order of their names.
        shape: (C, H, W) wanted: pictures are cropped centrally and resized.

    Raises:
        UserError: fewer than two classes, a class without pictures, a broken picture, or a test class of another name.
    """
    names = {path.name.lower(): path for path in folder.iterdir() if path.is_dir()}
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
    classes = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if len(classes) < 2:
        raise UserError(f"{folder} has {len(classes)} sub-folders: expected one for each class")
    files: list[tuple[Path, int]] = []
    for label, name in enumerate(classes):
        pictures = open_data_folder(folder / name).pictures
        if not pictures:
            raise UserError(f"{folder / name} holds no pictures: every class needs some")
        files += [(path, label) for path in pictures]
    stored = np.empty((len(files), *shape), dtype=np.uint8)
    for row, (path, _) in enumerate(files):
        stored[row] = read_image(path, shape)
    return classes, torch.from_numpy(stored), torch.tensor([label for _, label in files])
