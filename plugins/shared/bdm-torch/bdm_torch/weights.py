"""Safetensors files by their headers alone: which tensors they hold, and whether they are whole. No torch, no numpy."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import NamedTuple

from bdm_core.errors import ArtifactError

LARGEST_HEADER = 100 * 2**20
"""The format's own limit."""
BITS = {"F64": 64, "F32": 32, "F16": 16, "BF16": 16, "I64": 64, "I32": 32, "I16": 16, "I8": 8, "U8": 8, "BOOL": 8}
"""Types of the format and their bits; those of further types (8 bits and fewer) are not checked against the length."""


class Entry(NamedTuple):
    """A tensor in a file: its type as the format spells it, e.g. ``F32``, and its shape."""

    dtype: str
    shape: tuple[int, ...]


def is_pointer(path: Path) -> bool:
    """Whether a file is a Git LFS pointer, which stands for content that was not fetched."""
    with path.open("rb") as stream:
        return stream.read(64).startswith(b"version https://git-lfs")


def read_header(path: Path) -> dict[str, Entry]:
    """The tensors of a safetensors file by name.

    Raises:
        ArtifactError: the file is missing, a Git LFS pointer, cut off, or no safetensors.
    """
    try:
        if is_pointer(path):
            raise ArtifactError(f"{path} is a Git LFS pointer, not the weights: run git lfs pull where it comes from")
        size = path.stat().st_size
        with path.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > LARGEST_HEADER:
                raise ValueError("header too large")
            header = json.loads(stream.read(length))
        found, end = {}, 0
        for name, entry in header.items():
            if name != "__metadata__":
                found[name] = Entry(str(entry["dtype"]), tuple(map(int, entry["shape"])))
                end = max(end, _checked_end(found[name], *entry["data_offsets"]))
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror or error}") from None
    except (ArithmeticError, ValueError, struct.error, KeyError, TypeError, AttributeError, RecursionError):
        raise ArtifactError(f"{path} is no safetensors file, or a damaged one") from None
    if size != 8 + length + end:
        raise ArtifactError(f"{path} is cut off or damaged: it has {size} bytes, its header says {8 + length + end}")
    return found


def _checked_end(entry: Entry, start: int, end: int) -> int:
    if not 0 <= start <= end or any(side < 0 for side in entry.shape):
        raise ValueError("impossible place or shape")
    bits = BITS.get(entry.dtype)
    if bits is not None and (end - start) * 8 != bits * math.prod(entry.shape):
        raise ValueError("a tensor's place does not fit its shape")
    return end
