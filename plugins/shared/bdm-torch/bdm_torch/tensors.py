"""Safetensors files: deterministic bytes, replaced as a whole, clear errors."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from bdm_core.errors import ArtifactError


def write_tensors(path: Path, tensors: Mapping[str, Tensor], note: str = "pt") -> None:
    """Write tensors to a safetensors file, atomically: a reader sees the old file or the new one.

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
    content: dict[str, Tensor] = {}
    storages: set[int] = set()
    for name in sorted(tensors):
        value = tensors[name].detach().to("cpu").contiguous()
        if value.untyped_storage().data_ptr() in storages:
            value = value.clone()
        storages.add(value.untyped_storage().data_ptr())
        content[name] = value
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(save(content, {"format": note}))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


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
