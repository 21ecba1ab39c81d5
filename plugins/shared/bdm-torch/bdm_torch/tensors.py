"""Safetensors files: deterministic bytes, written tensor by tensor, replaced as a whole, clear errors."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from bdm_core.errors import ArtifactError

KINDS = {
    torch.bool: "BOOL",
    torch.uint8: "U8",
    torch.int8: "I8",
    torch.float8_e5m2: "F8_E5M2",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.int16: "I16",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int32: "I32",
    torch.float32: "F32",
    torch.float64: "F64",
    torch.int64: "I64",
}
"""Type of a tensor -> its name in a file. Those of later types come first there, as the safetensors library has it."""
ORDER = {dtype: number for number, dtype in enumerate(KINDS)}


def write_tensors(path: Path, tensors: Mapping[str, Tensor], note: str = "pt") -> None:
    """Write tensors to a safetensors file, atomically: a reader sees the old file or the new one.

    No second copy of them is held in memory. The bytes are those of ``safetensors.torch.save``.

    Args:
        path: its folder is made if need be.
        tensors: by name; moved to the CPU. Equal tensors give equal bytes.
        note: text kept in the header as ``format``; ``pt`` is what diffusers expects.

    Raises:
        OSError: the disk is full or read-only.

    >>> import torch
    >>> write_tensors(Path("one.safetensors"), {"trigger": torch.ones(2)}, note="mine")
    >>> read_tensors(Path("one.safetensors"))
    {'trigger': tensor([1., 1.])}
    >>> read_note(Path("one.safetensors"))
    'mine'
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    names, header = _header(tensors, note)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(len(header).to_bytes(8, "little") + header)
            for name in names:
                file.write(memoryview(_bytes(tensors[name]).numpy()))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def holds(path: Path, tensors: Mapping[str, Tensor], note: str = "pt") -> bool:
    """Whether a file is, bit for bit, what :func:`write_tensors` would write; read tensor by tensor.

    >>> write_tensors(Path("one.safetensors"), {"trigger": torch.ones(2)})
    >>> holds(Path("one.safetensors"), {"trigger": torch.ones(2)})
    True
    >>> holds(Path("one.safetensors"), {"trigger": torch.zeros(2)})
    False
    """
    names, header = _header(tensors, note)
    start = len(header).to_bytes(8, "little") + header
    with path.open("rb") as file:
        if file.read(len(start)) != start:
            return False
        for name in names:
            wanted = _bytes(tensors[name])
            found = bytearray(wanted.numel())
            if file.readinto(found) != len(found):
                return False
            if found and not torch.equal(torch.frombuffer(found, dtype=torch.uint8), wanted):
                return False
        return not file.read(1)


def _header(tensors: Mapping[str, Tensor], note: str) -> tuple[list[str], bytes]:
    """The names in the order of the file, and its header, padded to whole 8 bytes."""
    names = sorted(tensors, key=lambda name: (-ORDER[tensors[name].dtype], name))
    entries: dict[str, Any] = {"__metadata__": {"format": note}}
    end = 0
    for name in names:
        value = tensors[name]
        start, end = end, end + value.numel() * value.element_size()
        entries[name] = {"dtype": KINDS[value.dtype], "shape": list(value.shape), "data_offsets": [start, end]}
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    return names, text + b" " * (-len(text) % 8)


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu").contiguous().view(-1).view(torch.uint8)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, on the CPU. Raises ArtifactError if it is missing or damaged.

    >>> _ = Path("broken.safetensors").write_bytes(b"no tensors")
    >>> read_tensors(Path("broken.safetensors"))
    Traceback (most recent call last):
        ...
    bdm_core.errors.ArtifactError: broken.safetensors cannot be read as safetensors: ...
    """
    try:
        tensors: dict[str, Tensor] = load_file(path)
        return tensors
    except (OSError, SafetensorError) as error:
        raise ArtifactError(f"{path} cannot be read as safetensors: {error}") from None


def read_note(path: Path) -> str:
    """The text that :func:`write_tensors` kept in the header, "" if none. Raises ArtifactError as above.

    >>> import torch
    >>> write_tensors(Path("one.safetensors"), {"trigger": torch.ones(2)})
    >>> read_note(Path("one.safetensors"))
    'pt'
    """
    try:
        with safe_open(path, framework="pt") as file:
            return str((file.metadata() or {}).get("format", ""))
    except (OSError, SafetensorError) as error:
        raise ArtifactError(f"{path} cannot be read as safetensors: {error}") from None
