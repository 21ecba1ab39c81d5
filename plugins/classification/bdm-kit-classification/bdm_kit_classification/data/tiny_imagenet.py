"""Tiny ImageNet: 200 classes of 64x64 pictures in the layout of its makers."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from bdm_core.errors import UserError
from bdm_kit_classification.data.division import divide
from bdm_kit_classification.data.listed import Rows, listed_file, read_lines, read_pictures, require_once
from bdm_kit_classification.data.parts import Parts
from bdm_torch.data_folders import open_data_folder, subfolders


def class_names(folder: Path) -> list[str]:
    """The first name of each class in ``words.txt``, in the order of the sorted wnids; the wnid where it is not unique.

    Raises:
        UserError: a wnid has another form or is listed twice.
    """
    wnids = _wnids(folder)
    words = folder / "words.txt"
    lines = [line.partition("\t") for line in read_lines(words)] if words.is_file() else []
    names = {wnid: text.split(",")[0].strip() for wnid, _, text in lines}
    counts = Counter(names.get(wnid, "") for wnid in wnids)
    return [names[wnid] if names.get(wnid) and counts[names[wnid]] == 1 else wnid for wnid in wnids]


def read_tiny_imagenet(folder: Path, shape: tuple[int, int, int]) -> Parts:
    """Training and reserve from ``train``, test from ``val``, whose labels are public; ``test`` is not read.

    Classes are numbered in the order of their sorted wnids, as trained models have them.

    Args:
        folder: with ``wnids.txt``, ``words.txt``, ``train/WNID/images``, ``val/images`` and
            ``val/val_annotations.txt``.
        shape: (C, H, W) wanted.

    Raises:
        UserError: lists and folders do not match, a list names a file outside of the folder, or a picture is broken.
    """
    wnids = _wnids(folder)
    held = {path.name for path in subfolders(folder / "train")}
    if held != set(wnids):
        other = sorted(held ^ set(wnids))[0]
        raise UserError(
            f"{folder / 'wnids.txt'} lists {len(wnids)} classes, {folder / 'train'} holds {len(held)}; they differ in "
            f"{other[:80]!r}"
        )
    training: Rows = []
    for label, wnid in enumerate(wnids):
        pictures = open_data_folder(folder / "train" / wnid).pictures
        if not pictures:
            raise UserError(f"{folder / 'train' / wnid} holds no pictures: every class needs some")
        training += [(path, label) for path in pictures]
    test = _test_rows(folder / "val", wnids)
    return divide(*read_pictures(training, shape), class_names(folder), read_pictures(test, shape))


def _wnids(folder: Path) -> list[str]:
    path = folder / "wnids.txt"
    wnids = sorted(read_lines(path))
    wrong = next((wnid for wnid in wnids if not re.fullmatch("n[0-9]{1,12}", wnid)), None)
    if wrong is not None:
        raise UserError(f"{path} has the line {wrong[:80]!r}: expected a wnid such as n02124075")
    if len(wnids) < 2 or len(set(wnids)) < len(wnids):
        raise UserError(f"{path} lists {len(wnids)} classes, {len(set(wnids))} of them different: expected two or more")
    return wnids


def _test_rows(folder: Path, wnids: list[str]) -> Rows:
    table = folder / "val_annotations.txt"
    rows: Rows = []
    for line in read_lines(table):
        name, wnid, *_ = (*line.split("\t"), "")
        if wnid not in wnids:
            raise UserError(f"{table} has the line {line[:80]!r}: expected a file, a tabulator and a listed wnid")
        rows.append((listed_file(folder / "images", name, table), wnids.index(wnid)))
    require_once(rows, table)
    held = len(open_data_folder(folder / "images").pictures)
    if not rows or held != len(rows):
        raise UserError(f"{table} lists {len(rows)} pictures, {folder / 'images'} holds {held}: one is incomplete")
    return rows
