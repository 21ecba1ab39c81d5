"""What a data set's folder of a stranger's holds: pictures, tables, and what is left out. Light: no torch."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bdm_core.errors import UserError
from bdm_core.files import counts, walk

PICTURES = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jfif": "JPEG",
    ".webp": "WebP",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
"""Suffixes of pictures that are read, whatever their case, with the name of their format."""
TABLE = ".parquet"
HUB_PATTERNS = [f"*{suffix}" for lower in (*PICTURES, TABLE) for suffix in (lower, lower.upper())]
"""What is fetched of a data set of the Hub."""
BESIDE = frozenset(
    {"", ".txt", ".md", ".json", ".jsonl", ".csv", ".tsv", ".yaml", ".yml", ".ini", ".db", ".html", ".py"}
)
"""Suffixes of what usually lies beside data; leaving it out is no news."""


@dataclass(frozen=True)
class DataFolder:
    """The files of a folder, as :func:`bdm_core.files.walk` finds them.

    Attributes:
        path: the folder.
        pictures: those with a suffix of :data:`PICTURES`, sorted.
        tables: its parquet files, sorted.
        others: all other files, sorted.
    """

    path: Path
    pictures: tuple[Path, ...]
    tables: tuple[Path, ...]
    others: tuple[Path, ...]

    def warn_of(self, *left_out: Sequence[Path]) -> None:
        """One warning that counts files which might be data and are not read, by suffix."""
        counts = Counter(path.suffix.lower() for paths in left_out for path in paths)
        counts = Counter({suffix: count for suffix, count in counts.items() if suffix not in BESIDE})
        if counts:
            _warn("%s: %d files are left out (%s)", self.path, counts)

    def warn_of_formats(self) -> None:
        """One warning if its pictures have several formats: they may be copies of each other."""
        counts = Counter(PICTURES[path.suffix.lower()] for path in self.pictures)
        if len(counts) > 1:
            _warn("%s: all %d pictures of several formats are read (%s)", self.path, counts)


def _warn(message: str, path: Path, counts: Counter[str]) -> None:
    named = ", ".join(f"{name} {count}" for name, count in counts.most_common(5))
    logging.getLogger("bdm").warning(message, path, counts.total(), named)


def open_data_folder(path: Path) -> DataFolder:
    """Look at a folder; nothing is read.

    Raises:
        UserError: there is no such folder, or part of it cannot be read.
    """
    if not path.is_dir():
        raise UserError(f"{path} is no folder")
    parts: dict[str, list[Path]] = {"pictures": [], "tables": [], "others": []}
    for file in walk(path):
        suffix = file.suffix.lower()
        parts["pictures" if suffix in PICTURES else "tables" if suffix == TABLE else "others"].append(file)
    return DataFolder(path, *map(tuple, parts.values()))


def entries(folder: Path) -> list[Path]:
    """The plain files and the folders that lie directly in a folder, sorted, by the rule of :func:`walk`.

    Raises:
        UserError: it cannot be read, or a link in it leads nowhere.

    >>> for name in ("cat", ".cache", "__MACOSX"):
    ...     Path("pets", name).mkdir(parents=True)
    >>> [path.name for path in entries(Path("pets"))]
    ['cat']
    """
    try:
        found = sorted(path for path in folder.iterdir() if counts(path.name))
        lost = next((path for path in found if path.is_symlink() and not path.exists()), None)
    except OSError as error:
        raise UserError(f"cannot read {error.filename or folder}: {error.strerror or error}") from None
    if lost is not None:
        raise UserError(f"{lost} is a link that leads nowhere: repair or remove it")
    return [path for path in found if path.is_file() or path.is_dir()]


def subfolders(folder: Path) -> list[Path]:
    """Those of :func:`entries` that are folders: the classes or parts of a data set."""
    return [path for path in entries(folder) if path.is_dir()]


def training_tables(tables: Sequence[Path]) -> list[Path]:
    """Of several parquet files those whose name, or whose folder's, has ``train`` in it; all if none is named so."""
    return [path for path in tables if "train" in path.name or "train" in path.parent.name] or list(tables)
