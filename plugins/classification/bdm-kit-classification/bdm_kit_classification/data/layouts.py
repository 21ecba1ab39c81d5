"""The folder layouts of published data sets, known by their content. Light: no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from bdm_torch.data_folders import subfolders

Layout = Literal["celeba", "cifar", "gtsrb", "tiny-imagenet"]
CIFAR_PLACES = (".", "cifar-10-batches-bin", "cifar-100-binary")
GTSRB_TRAINING = ("Train", "Training", "Final_Training/Images", "GTSRB/Final_Training/Images")
GTSRB_TEST = ("Test", "Final_Test/Images", "GTSRB/Final_Test/Images")
GTSRB_TABLES = ("Train.csv", "Test.csv")
CELEBA_ATTRIBUTES, CELEBA_PARTITION = "list_attr_celeba", "list_eval_partition"


def layout_of(folder: Path) -> Layout | None:
    """Which published layout a folder has; None for others.

    >>> layout_of(Path("."))
    >>> Path("wnids.txt").touch()
    >>> Path("train").mkdir()
    >>> layout_of(Path("."))
    'tiny-imagenet'
    """
    if cifar_place(folder) is not None:
        return "cifar"
    training = gtsrb_training(folder)
    if all((folder / name).is_file() for name in GTSRB_TABLES) or (training and has_class_tables(training)):
        return "gtsrb"
    if (folder / "wnids.txt").is_file() and (folder / "train").is_dir():
        return "tiny-imagenet"
    if any(celeba_table(folder, name) is not None for name in (CELEBA_ATTRIBUTES, CELEBA_PARTITION)):
        return "celeba"
    return None


def celeba_table(folder: Path, name: str) -> Path | None:
    """A table of CelebA in the folder, or in its folder ``celeba``."""
    found = (folder / place / f"{name}.{ending}" for place in (".", "celeba") for ending in ("txt", "csv"))
    return next((path for path in found if path.is_file()), None)


def cifar_place(folder: Path) -> Path | None:
    """The folder that holds the binary files of CIFAR-10 or CIFAR-100."""
    for place in (folder / name for name in CIFAR_PLACES):
        if any(place.glob("data_batch_*.bin")) or all((place / name).is_file() for name in ("train.bin", "test.bin")):
            return place
    return None


def gtsrb_training(folder: Path) -> Path | None:
    """The folder with a sub-folder a class of traffic signs."""
    return next((folder / name for name in GTSRB_TRAINING if (folder / name).is_dir()), None)


def has_class_tables(training: Path) -> bool:
    """Whether a sub-folder has the table ``GT-NAME.csv`` of a class."""
    return any((path / f"GT-{path.name}.csv").is_file() for path in subfolders(training))
