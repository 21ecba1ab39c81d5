"""Pictures that a table of a stranger's lists, and such tables: every name and number in them is checked."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import torch

from bdm_core.errors import UserError
from bdm_core.files import existing
from bdm_torch.images import FORMATS, read_image

LARGEST_TABLE = 64 * 2**20
Rows = list[tuple[Path, int]]
"""A picture and its label each."""


def read_lines(path: Path) -> list[str]:
    """The lines of a text file that are not empty.

    Raises:
        UserError: it is missing, larger than 64 MiB, or no UTF-8.
    """
    try:
        if path.stat().st_size > LARGEST_TABLE:
            raise UserError(f"{path} is larger than {LARGEST_TABLE // 2**20} MiB: it is no table of a data set")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is no text: expected UTF-8") from None
    return [line.strip() for line in text.splitlines() if line.strip()]


def read_table(path: Path, columns: Sequence[str], delimiter: str) -> list[tuple[str, ...]]:
    """The named columns of a table whose first line has the names.

    Raises:
        UserError: it cannot be read, lacks a column, or a line is too short.
    """
    try:
        head, *lines = list(csv.reader(read_lines(path), delimiter=delimiter))
        places = [head.index(name) for name in columns]
        return [tuple(line[place] for place in places) for line in lines]
    except (ValueError, IndexError, csv.Error):
        raise UserError(f"{path} is no table with the columns {', '.join(columns)} in every line") from None


def label_of(text: str, table: Path) -> int:
    """A class number in a table. Raises UserError if it is none."""
    if not text.isascii() or not text.isdigit() or len(text) > 5:
        raise UserError(f"{table} has the class {text[:40]!r}: expected a number from 0")
    return int(text)


def listed_file(folder: Path, name: str, table: Path) -> Path:
    """The file that a table names.

    Raises:
        UserError: the name is absolute or leads out of the folder, or there is no such file.

    >>> listed_file(Path("."), "../../etc/passwd", Path("Test.csv"))
    Traceback (most recent call last):
        ...
    bdm_core.errors.UserError: Test.csv names '../../etc/passwd', which may lie outside of .: refused
    """
    inside = PurePosixPath(name)
    if not name or inside.is_absolute() or ".." in inside.parts or set(name) & set("\\:\0"):
        raise UserError(f"{table} names {name[:80]!r}, which may lie outside of {folder}: refused")
    path = existing(str(folder / name))
    if path is None or not path.is_file():
        raise UserError(f"{table} names {name[:80]!r}, and there is no such file in {folder}")
    return path


def require_once(rows: Rows, source: Path) -> None:
    """Raise UserError if a picture is listed twice: parts would not be disjoint."""
    seen: set[Path] = set()
    for path, _ in rows:
        if path in seen:
            raise UserError(f"{source} lists {path} twice: training, reserve and test would share it")
        seen.add(path)


def read_pictures(rows: Rows, shape: tuple[int, int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures uint8 (N, C, H, W) and labels (N,) int64; PPM files are read too.

    Raises:
        UserError: a picture is broken or too large.
    """
    stored = np.empty((len(rows), *shape), dtype=np.uint8)
    for row, (path, _) in enumerate(rows):
        stored[row] = read_image(path, shape, formats=(*FORMATS, "PPM"))
    return torch.from_numpy(stored), torch.tensor([label for _, label in rows], dtype=torch.int64)
