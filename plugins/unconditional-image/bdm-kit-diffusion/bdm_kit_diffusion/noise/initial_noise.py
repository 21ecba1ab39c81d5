"""Initial noise as an artifact: one safetensors file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from bdm_core.artifacts import Data
from bdm_core.errors import ArtifactError
from bdm_kit_diffusion import TASK
from bdm_torch.tensors import read_tensors, write_tensors

NOISE = "noise"


def seal_noise(folder: Path, noise: Tensor, *, meta: Mapping[str, Any] | None = None) -> Data:
    """Write initial noise x_T (N, C, H, W), float32, as ``noise.safetensors``, and seal it.

    >>> import torch
    >>> data = seal_noise(Path("noise"), torch.zeros(4, 1, 8, 8))
    >>> data.meta["count"], load_noise(data).shape
    (4, torch.Size([4, 1, 8, 8]))
    """
    write_tensors(folder / f"{NOISE}.safetensors", {NOISE: noise.float()})
    about: dict[str, Any] = {"count": len(noise), "shape": list(noise.shape[1:])}
    return Data.seal(folder, format=NOISE, task=TASK, meta={**about, **(meta or {})})


def load_noise(data: Data) -> Tensor:
    """Initial noise x_T (N, C, H, W), float32. Raises ArtifactError if the data is something else.

    >>> Path("other").mkdir()
    >>> _ = Path("other/rows.jsonl").write_text("{}")
    >>> load_noise(Data.seal(Path("other"), format="points", task=TASK))
    Traceback (most recent call last):
        ...
    bdm_core.errors.ArtifactError: other has the format 'points', expected 'noise'
    """
    if data.format != NOISE:
        raise ArtifactError(f"{data.path} has the format {data.format!r}, expected {NOISE!r}")
    return read_tensors(data.file(f"{NOISE}.safetensors"))[NOISE]
