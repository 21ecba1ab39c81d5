"""Read what lies in an artifact, row by row, with the standard library: JSON lines, safetensors, 8 bit PNG."""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bdm_core import artifacts
from bdm_core.artifacts import ROWS, Artifact

FILE_KEYS = ("file_name", "file", "image", "path")
_FORMATS = {"F64": "d", "F32": "f", "F16": "e", "I64": "q", "I32": "i", "I16": "h", "I8": "b", "U8": "B", "BOOL": "?"}
_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}


@dataclass
class Row:
    """One row of an artifact.

    Attributes:
        values: every number that belongs to it: tensor rows as stored, pixels in [-1, 1].
        record: its line of ``rows.jsonl``, or empty.
    """

    values: list[float] = field(default_factory=list)
    record: dict[str, Any] = field(default_factory=dict)


def count_of(artifact: Artifact) -> int:
    """Number of rows: ``meta["count"]``, else the lines of ``rows.jsonl``, else the number of PNG files."""
    count = artifact.meta.get("count")
    if isinstance(count, int):
        return count
    if ROWS in artifact.files:
        return len(records_of(artifact))
    return len(_pictures(artifact))


def records_of(artifact: Artifact) -> list[dict[str, Any]]:
    """The objects of ``rows.jsonl``, or an empty list."""
    return artifacts.rows_of(artifact) if ROWS in artifact.files else []


def rows_of(artifact: Artifact) -> list[Row]:
    """Every row of an artifact: numbers of ``rows.jsonl``, tensors with one entry a row, and pictures."""
    rows = [Row() for _ in range(count_of(artifact))]
    records = records_of(artifact)
    if len(records) == len(rows):
        for row, record in zip(rows, records, strict=True):
            row.record = record
            row.values += _numbers({key: item for key, item in record.items() if key not in ("id", "index", "row")})
    for name in sorted(artifact.files):
        if name.endswith(".safetensors"):
            for shape, values in read_safetensors(artifact.path / name).values():
                if shape and shape[0] == len(rows) and rows:
                    width = len(values) // len(rows)
                    for index, row in enumerate(rows):
                        row.values += values[index * width : (index + 1) * width]
    pictures = _pictures(artifact)
    named = [[record[key] for key in FILE_KEYS if record.get(key) in artifact.files] for record in records]
    if len(named) == len(rows) and any(named):
        per_row = named
    elif len(pictures) == len(rows):
        per_row = [[name] for name in pictures]
    else:
        per_row = []
    for row, names in zip(rows, per_row, strict=False):
        for name in names:
            if name.lower().endswith(".png"):
                row.values += read_png(artifact.path / name)
    return rows


def all_finite(artifact: Artifact) -> bool:
    """Whether every number in every row is finite."""
    return all(math.isfinite(value) for row in rows_of(artifact) for value in row.values)


def mean_change(before: Artifact, after: Artifact) -> float:
    """Mean absolute difference of all numbers of two artifacts with the same rows; infinite if the shapes differ."""
    old, new = rows_of(before), rows_of(after)
    if [len(row.values) for row in old] != [len(row.values) for row in new]:
        return math.inf
    pairs = [pair for a, b in zip(old, new, strict=True) for pair in zip(a.values, b.values, strict=True)]
    return sum(abs(a - b) for a, b in pairs) / max(len(pairs), 1)


def swapped(before: list[Row], after: list[Row]) -> tuple[int, int] | None:
    """Two places whose new rows fit better to each other's old row, or None.

    Rows with an ``id`` are compared by it, others by squared distance. For any map of an input x to a * x + t with
    a > 0, exchanging two rightly placed rows adds 2 a |x_i - x_j|^2 to the sum of squared distances, so rightly placed
    rows never look swapped. Rows of another length than before are not compared.
    """
    rows = list(zip(before, after, strict=True))
    for i, (twin, row) in enumerate(rows):
        for j, (other_twin, other) in enumerate(rows[:i]):
            if "id" in row.record and "id" in twin.record:
                wrong = row.record["id"] != twin.record["id"]
            else:
                kept = _distance(row, twin) + _distance(other, other_twin)
                wrong = _distance(row, other_twin) + _distance(other, twin) < kept * (1 - 1e-9)
            if wrong:
                return j, i
    return None


def _distance(one: Row, other: Row) -> float:
    if len(one.values) != len(other.values):
        return 0.0
    return sum((a - b) ** 2 for a, b in zip(one.values, other.values, strict=True))


def read_safetensors(path: Path) -> dict[str, tuple[list[int], list[float]]]:
    """Name -> (shape, values in row-major order) of every tensor in a safetensors file."""
    raw = path.read_bytes()
    (length,) = struct.unpack_from("<Q", raw)
    header = json.loads(raw[8 : 8 + length])
    tensors: dict[str, tuple[list[int], list[float]]] = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        start, end = entry["data_offsets"]
        tensors[name] = (entry["shape"], _decode(raw[8 + length + start : 8 + length + end], entry["dtype"]))
    return tensors


def read_png(path: Path) -> list[float]:
    """Samples of an 8 bit PNG without interlacing, row by row and channel by channel, scaled from 0..255 to [-1, 1].

    Raises:
        ValueError: the file is no such PNG.
    """
    raw = path.read_bytes()
    if raw[:8] != b"\x89PNG\r\n\x1a\n":
        raise ValueError(f"{path} is no PNG")
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", raw[16:29])
    if depth != 8 or interlaced or colour not in _CHANNELS:
        raise ValueError(f"{path} is no 8 bit PNG without interlacing and palette")
    packed, place = b"", 8
    while place < len(raw):
        (length,) = struct.unpack_from(">I", raw, place)
        if raw[place + 4 : place + 8] == b"IDAT":
            packed += raw[place + 8 : place + 8 + length]
        place += 12 + length
    step = _CHANNELS[colour]
    lines = _unfilter(zlib.decompress(packed), width * step, height, step)
    return [value / 127.5 - 1 for line in lines for value in line]


def _unfilter(raw: bytes, width: int, height: int, step: int) -> Iterator[bytearray]:
    above = bytearray(width)
    for row in range(height):
        start = row * (width + 1)
        line = bytearray(raw[start + 1 : start + 1 + width])
        for i in range(width):
            a = line[i - step] if i >= step else 0
            b = above[i]
            c = above[i - step] if i >= step else 0
            line[i] = (line[i] + _predicted(raw[start], a, b, c)) & 0xFF
        yield line
        above = line


def _predicted(kind: int, a: int, b: int, c: int) -> int:
    """What a PNG filter (PNG specification, section 9) adds: a is left, b above, c above left."""
    if kind < 4:
        return (0, a, b, (a + b) // 2)[kind]
    distances = [(abs(b - c), 0, a), (abs(a - c), 1, b), (abs(a + b - 2 * c), 2, c)]
    return min(distances)[2]


def _decode(raw: bytes, dtype: str) -> list[float]:
    if dtype == "BF16":
        halves = struct.unpack(f"<{len(raw) // 2}H", raw)
        return list(
            struct.unpack(f"<{len(halves)}f", struct.pack(f"<{len(halves)}I", *(half << 16 for half in halves)))
        )
    if dtype not in _FORMATS:
        return []
    code = _FORMATS[dtype]
    return [float(value) for value in struct.unpack(f"<{len(raw) // struct.calcsize(code)}{code}", raw)]


def _numbers(value: Any) -> list[float]:
    if isinstance(value, bool):
        return []
    if isinstance(value, int | float):
        return [float(value)]
    if isinstance(value, list):
        return [number for item in value for number in _numbers(item)]
    if isinstance(value, dict):
        return [number for key in sorted(value) for number in _numbers(value[key])]
    return []


def _pictures(artifact: Artifact) -> list[str]:
    return sorted(name for name in artifact.files if name.lower().endswith(".png"))
