"""CelebA (Liu et al., ICCV 2015) with eight classes of three of its attributes, as backdoor papers have it."""

from __future__ import annotations

from pathlib import Path

from bdm_core.errors import UserError
from bdm_kit_classification.data.division import divide
from bdm_kit_classification.data.layouts import CELEBA_ATTRIBUTES, CELEBA_PARTITION, celeba_table
from bdm_kit_classification.data.listed import Rows, listed_file, read_lines, read_pictures, require_once
from bdm_kit_classification.data.parts import Parts

ATTRIBUTES = ("Heavy_Makeup", "Mouth_Slightly_Open", "Smiling")
"""The three most balanced ones (Salem et al. 2020): the label is the number with these bits, the first the highest."""
WORDS = (("no makeup", "makeup"), ("mouth closed", "mouth open"), ("serious", "smiling"))
PICTURES = ("img_align_celeba/img_align_celeba", "img_align_celeba")
TRAINING, VALIDATION, TEST = "0", "1", "2"


def class_names(folder: Path) -> list[str]:
    """The eight classes in words.

    >>> class_names(Path("."))[5]
    'makeup, mouth closed, smiling'
    """
    return [", ".join(words[label >> (2 - place) & 1] for place, words in enumerate(WORDS)) for label in range(8)]


def read_celeba(folder: Path, shape: tuple[int, int, int]) -> Parts:
    """Training and reserve from the pictures of partition 0, test from those of 2; 1, for validation, is not read.

    Args:
        folder: with ``list_attr_celeba``, ``list_eval_partition`` (.txt as its makers have them, or .csv) and
            ``img_align_celeba``; or with a folder ``celeba`` that has them.
        shape: (C, H, W) wanted.

    Raises:
        UserError: a table is missing or damaged, names a picture twice or one outside of the folder, or a picture is
            missing or broken.
    """
    attributes, partition = (_table(folder, name) for name in (CELEBA_ATTRIBUTES, CELEBA_PARTITION))
    head, labels = _labels(attributes)
    place = next((head / name for name in PICTURES if (head / name).is_dir()), None)
    if place is None:
        raise UserError(f"{head} has no folder {PICTURES[-1]}: unpack CelebA's pictures there")
    parts: dict[str, Rows] = {TRAINING: [], VALIDATION: [], TEST: []}
    for number, cells in enumerate(_cells(partition)):
        if len(cells) != 2 or cells[1] not in parts:
            if number == 0 and partition.suffix == ".csv":
                continue
            raise UserError(f"{partition} has the line {' '.join(cells)[:80]!r}: expected a picture and 0, 1 or 2")
        if cells[0] not in labels:
            raise UserError(f"{partition} names {cells[0][:80]!r}, and {attributes} does not")
        if cells[1] != VALIDATION:
            parts[cells[1]].append((listed_file(place, cells[0], partition), labels[cells[0]]))
    require_once([*parts[TRAINING], *parts[TEST]], partition)
    for key, what in ((TRAINING, "training (0)"), (TEST, "test (2)")):
        if not parts[key]:
            raise UserError(f"{partition} lists no pictures for {what}")
    names = class_names(folder)
    return divide(*read_pictures(parts[TRAINING], shape), names, read_pictures(parts[TEST], shape))


def _table(folder: Path, name: str) -> Path:
    found = celeba_table(folder, name)
    if found is None:
        raise UserError(f"{folder} has no {name}.txt or .csv: CelebA needs its attributes and its partition")
    return found


def _cells(table: Path) -> list[list[str]]:
    delimiter = "," if table.suffix == ".csv" else None
    return [[cell.strip() for cell in line.split(delimiter)] for line in read_lines(table)]


def _labels(table: Path) -> tuple[Path, dict[str, int]]:
    """The folder of the table, and the label of each picture."""
    lines = _cells(table)
    first = 0 if table.suffix == ".csv" else 1  # the makers' first line has the count
    names = lines[first] if len(lines) > first else []
    shift = 0 if table.suffix == ".csv" else 1  # their second line has no name for the column of the files
    missing = next((name for name in ATTRIBUTES if name not in names), None)
    if missing is not None:
        raise UserError(f"{table} has no column {missing} in line {first + 1}")
    places = [names.index(name) + shift for name in ATTRIBUTES]
    labels: dict[str, int] = {}
    for cells in lines[first + 1 :]:
        if len(cells) != len(names) + shift or set(cells[1:]) - {"-1", "0", "1"}:
            marks = len(names) + shift - 1
            raise UserError(f"{table} has the line {' '.join(cells)[:80]!r}: expected a picture and {marks} marks")
        if cells[0] in labels:
            raise UserError(f"{table} lists {cells[0][:80]} twice")
        bits = (cells[place] == "1" for place in places)
        labels[cells[0]] = sum(bit << (2 - place) for place, bit in enumerate(bits))
    if first and lines[0] != [str(len(labels))]:
        raise UserError(
            f"{table} says that it lists {' '.join(lines[0])[:40]} pictures, and lists {len(labels)}: it is cut off; "
            "copy it again, or put the right number into its first line"
        )
    return table.parent, labels
