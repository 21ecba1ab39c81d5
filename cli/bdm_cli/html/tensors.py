"""Reads small tensors from safetensors files with the standard library, so that the CLI needs neither numpy nor torch.

Format: 8 bytes little-endian header length, a JSON header ``{name: {dtype, shape, data_offsets}}``, the raw values.
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path

_CODES = {"F16": "e", "F32": "f", "F64": "d"}
_LIMIT = 64 * 2**20


@dataclass(frozen=True)
class Tensor:
    """Values in row-major order with their shape."""

    shape: tuple[int, ...]
    values: tuple[float, ...]

    @property
    def norm(self) -> float:
        """Euclidean norm."""
        return math.sqrt(math.fsum(value * value for value in self.values))


def read(path: Path, name: str) -> Tensor | None:
    """One tensor of a safetensors file; None if it is missing, of another dtype, not finite, or the file is damaged."""
    try:
        if path.stat().st_size > _LIMIT:
            return None
        raw = path.read_bytes()
        (length,) = struct.unpack_from("<Q", raw)
        entry = json.loads(raw[8 : 8 + length])[name]
        begin, end = entry["data_offsets"]
        shape = tuple(int(extent) for extent in entry["shape"])
        values = struct.unpack(
            f"<{math.prod(shape)}{_CODES[entry['dtype']]}", raw[8 + length + begin : 8 + length + end]
        )
    except (OSError, ValueError, KeyError, TypeError, struct.error):
        return None
    return Tensor(shape, values) if all(math.isfinite(value) for value in values) else None


def cosine(first: Tensor, second: Tensor) -> float | None:
    """Cosine similarity in [-1, 1]; None if the shapes differ or one is zero."""
    scale = first.norm * second.norm
    if first.shape != second.shape or not scale:
        return None
    return math.fsum(a * b for a, b in zip(first.values, second.values, strict=True)) / scale
