"""Read foreign captioned images: Hugging Face's imagefolder, and its parquet layout.

This module is light until pictures are read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bdm_core.errors import UserError
from bdm_core.files import check_relative, counts
from bdm_torch.data_folders import HUB_PATTERNS as PICTURES_AND_TABLES
from bdm_torch.data_folders import DataFolder, open_data_folder, training_tables

if TYPE_CHECKING:
    from bdm_torch.image_rows import ImageRows

METADATA = "metadata.jsonl"
HUB_PATTERNS = [*PICTURES_AND_TABLES, f"*{METADATA}"]
LARGEST_LIST = 2**30
"""Bytes of one ``metadata.jsonl``: some five million captions."""
CAPTION_COLUMNS = ("text", "caption", "prompt", "captions")
"""The names under which a caption is looked for, in this order."""
Pictures = Callable[[int], tuple[Path | bytes, str]]
"""Number of a row -> its picture, and what to call it in a message."""


def read_captioned_folder(
    folder: Path, shape: Sequence[int], limit: int | None = None, cache: Path | None = None
) -> tuple[ImageRows, list[str]]:
    """The images and captions of a folder; an image is read when it is asked for.

    Args:
        folder: holds ``metadata.jsonl``, a JSON line with ``file_name`` and ``text`` for each image, or parquet files
            with a column of images and one of texts.
        shape: (3, H, W) wanted; images are cropped centrally and resized.
        limit: take at most so many.
        cache: where ``datasets`` may keep its converted copy of parquet files.

    Returns:
        N images (3, H, W) in [-1, 1] at 256 levels, and N captions.

    Raises:
        UserError: there is no such folder or no caption; or, once it is read, an image is broken (the message names
            it).
    """
    found, lists = caption_sources(folder)
    import numpy as np
    import torch

    from bdm_torch.image_rows import ImageRows
    from bdm_torch.images import from_bytes, read_image

    if lists:
        listed = _listed(lists)
        named = {image for _, image, _ in listed}
        found.warn_of([path for path in found.pictures if path not in named], found.tables, found.others)
        captions = [caption for _, _, caption in listed]

        def picture(row: int) -> tuple[Path | bytes, str]:
            return listed[row][1], listed[row][0]

        pictures: Pictures = picture
    else:
        found.warn_of(found.pictures, found.others)
        pictures, captions = _tabled(training_tables(found.tables), cache, limit)
    captions = captions[:limit]
    if not captions:
        raise UserError(f"{folder} holds no captioned images: {(*lists, *found.tables)[0]} has no rows")

    def read(rows: list[int]) -> torch.Tensor:
        pixels = [read_image(source, shape, name) for source, name in map(pictures, rows)]
        return from_bytes(torch.from_numpy(np.stack(pixels)))

    return ImageRows((len(captions), *shape), read), captions


def caption_sources(folder: Path) -> tuple[DataFolder, list[Path]]:
    """The files of a folder, and which of them are ``metadata.jsonl``.

    Raises:
        UserError: there is no such folder, or it has neither ``metadata.jsonl`` nor parquet files.
    """
    found = open_data_folder(folder)
    lists = [path for path in found.others if path.name == METADATA]
    if not lists and not found.tables:
        raise UserError(f"{folder} holds no captioned images: it needs {METADATA} with file_name and text, or .parquet")
    return found, lists


def _listed(lists: list[Path]) -> list[tuple[str, Path, str]]:
    rows = []
    for path in lists:
        if path.stat().st_size > LARGEST_LIST:
            raise UserError(f"{path} has more than {LARGEST_LIST >> 20:,} MiB: split it, or take a part of it")
        try:
            text = path.read_text(encoding="utf-8")
        except ValueError:
            raise UserError(f"{path} is no UTF-8 text") from None
        for number, line in enumerate(text.split("\n"), 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
                image = path.parent / check_relative(str(record["file_name"]))
                caption = next(record[name] for name in CAPTION_COLUMNS if isinstance(record.get(name), str))
            except (ValueError, TypeError, KeyError, StopIteration, AttributeError, RecursionError):
                raise UserError(f"line {number} of {path} needs a file_name below its folder and a text") from None
            if any("\ud800" <= letter <= "\udfff" for letter in f"{image}{caption}"):
                raise UserError(f"line {number} of {path} holds half a character (a lone surrogate): write it anew")
            if not all(map(counts, image.relative_to(path.parent).parts)):
                raise UserError(f"line {number} of {path} names {image}: hidden files are no data")
            rows.append((str(image), image, caption))
    return rows


def _tabled(files: list[Path], cache: Path | None, limit: int | None) -> tuple[Pictures, list[str]]:
    try:
        import datasets
    except ImportError:
        raise UserError("parquet data sets need datasets: pip install 'bdm-kit-text-to-image[hub]'") from None
    paths = [str(path) for path in files]
    try:
        table = datasets.Dataset.from_parquet(paths, cache_dir=str(cache) if cache else None)
        pictures = [name for name, kind in table.features.items() if _holds_images(kind, datasets.Image)]
        texts = [name for name in CAPTION_COLUMNS if name in table.features]
    except Exception as error:  # pyarrow and datasets raise errors of many classes
        raise UserError(f"cannot read {paths[0]}: {(str(error) or type(error).__name__).splitlines()[0]}") from None
    if not pictures or not texts:
        raise UserError(f"{paths[0]} needs columns of images and of texts; it has {', '.join(table.column_names)}")
    if isinstance(table.features[pictures[0]], datasets.Image):
        table = table.cast_column(pictures[0], datasets.Image(decode=False))
    table = table.select(range(len(table))[:limit])
    captions = list(table[texts[0]])

    def picture(row: int) -> tuple[Path | bytes, str]:
        content = table[row][pictures[0]]["bytes"]
        if content is None:
            raise _no_pair(row, paths[0])
        return content, f"in row {row} of {paths[0]}"

    bare = [row for row, caption in enumerate(captions) if not isinstance(caption, str)]
    if bare:
        raise _no_pair(bare[0], paths[0])
    return picture, captions


def _no_pair(row: int, path: str) -> UserError:
    return UserError(f"row {row} of {path} holds no image, or no text: refused")


def _holds_images(kind: Any, image_class: type) -> bool:
    return isinstance(kind, image_class) or (isinstance(kind, dict) and set(kind) == {"bytes", "path"})
