"""GTSRB, traffic signs (Stallkamp et al. 2012): the layout of its makers, and the one with ``Train.csv``."""

from __future__ import annotations

import re
from pathlib import Path

from bdm_core.errors import UserError
from bdm_kit_classification.data.division import divide
from bdm_kit_classification.data.layouts import GTSRB_TABLES, GTSRB_TEST, gtsrb_training, has_class_tables
from bdm_kit_classification.data.listed import (
    Rows,
    label_of,
    listed_file,
    read_pictures,
    read_table,
    require_once,
)
from bdm_kit_classification.data.parts import Parts
from bdm_torch.data_folders import entries, subfolders

TEST_TABLE = "GT-final_test.csv"
PICTURES = (".ppm", ".png", ".jpg", ".jpeg")


def class_names(folder: Path) -> list[str]:
    """The classes' numbers from 0, as texts."""
    training, _ = _rows(folder)
    return [str(label) for label in range(max(label for _, label in training) + 1)]


def read_gtsrb(folder: Path, shape: tuple[int, int, int]) -> Parts:
    """Training and reserve from the training pictures, test from the labelled test pictures.

    Training pictures are frames of one sign each (``00007_00000.ppm`` to ``00007_00029.ppm``), which stay in one part.

    Args:
        folder: either ``Train/00000/*.ppm`` (or png) with ``GT-00000.csv`` and so on, and ``Test`` with
            ``GT-final_test.csv``; or ``Train.csv`` and ``Test.csv`` with the columns ClassId and Path.
        shape: (C, H, W) wanted: whole pictures, cropped centrally and resized; the signs' boxes are not used.

    Raises:
        UserError: a table is missing, damaged, does not match the files, or names one outside of the folder; a picture
            is broken.
    """
    training, test = _rows(folder)
    require_once([*training, *test], folder)
    names = [str(label) for label in range(max(label for _, label in training) + 1)]
    strange = next((label for _, label in test if label >= len(names)), None)
    if strange is not None:
        raise UserError(f"{folder} has test pictures of class {strange}, and training pictures up to {len(names) - 1}")
    signs = [f"{label}/{path.stem.rpartition('_')[0] or path.stem}" for path, label in training]
    return divide(*read_pictures(training, shape), names, read_pictures(test, shape), signs)


def _rows(folder: Path) -> tuple[Rows, Rows]:
    """Training and test pictures with their labels; neither is empty."""
    place = gtsrb_training(folder)
    if place is not None and has_class_tables(place):
        training = [row for path in subfolders(place) for row in _class_rows(path)]
        test = _test_rows(folder)
    else:
        training, test = (_listed(folder / name, folder, "Path", ",") for name in GTSRB_TABLES)
    for rows, what in ((training, "training"), (test, "test")):
        if not rows:
            raise UserError(f"{folder} lists no {what} pictures")
    return training, test


def _class_rows(folder: Path) -> Rows:
    table = folder / f"GT-{folder.name}.csv"
    if not re.fullmatch("[0-9]{1,5}", folder.name):
        raise UserError(f"{folder} is no folder of a class: its name is no number")
    rows = _listed(table, folder, "Filename", ";")
    wrong = next((label for _, label in rows if label != int(folder.name)), None)
    if wrong is not None:
        raise UserError(f"{table} has a picture of class {wrong} in the folder of class {int(folder.name)}")
    _require_all(rows, folder, table)
    return rows


def _test_rows(folder: Path) -> Rows:
    place = next((folder / name for name in GTSRB_TEST if (folder / name).is_dir()), folder / GTSRB_TEST[0])
    table = next((path for path in (place / TEST_TABLE, folder / TEST_TABLE) if path.is_file()), None)
    if table is None:
        raise UserError(f"{place} has no {TEST_TABLE}: without it nobody knows the labels of the test pictures")
    rows = _listed(table, place, "Filename", ";")
    _require_all(rows, place, table)
    return rows


def _listed(table: Path, folder: Path, column: str, delimiter: str) -> Rows:
    pairs = read_table(table, [column, "ClassId"], delimiter)
    return [(listed_file(folder, name, table), label_of(label, table)) for name, label in pairs]


def _require_all(rows: Rows, folder: Path, table: Path) -> None:
    held = sum(path.suffix.lower() in PICTURES for path in entries(folder))
    if held != len(rows):
        raise UserError(f"{table} lists {len(rows)} pictures, {folder} holds {held}: one of them is incomplete")
