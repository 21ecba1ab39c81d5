"""Pictures and what a trigger does to them, for the report. Light: no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors import safe_open

from bdm_core.artifacts import Data, Secret
from bdm_core.context import Context
from bdm_core.figures import Figure, Pictures

COLUMNS = 8
Levels = np.ndarray[Any, Any]


def show_samples(ctx: Context, data: Data, rows: list[int], labels: list[str]) -> list[Figure]:
    """A grid of chosen rows; ``labels`` are as many or none."""
    files = _write(ctx.out, "sample", _read(data.file("samples.safetensors"))[rows])
    return [Pictures(files=files, labels=labels, columns=COLUMNS)]


def show_trigger(ctx: Context, secret: Secret) -> list[Figure]:
    """The secret's examples without and with the trigger, and what it changes."""
    clean, changed = (_read(secret.file(f"example_{name}.safetensors")) for name in ("clean", "triggered"))
    if not len(clean):
        return []
    residual = changed.astype(np.int16) - clean.astype(np.int16)
    most = max(1, int(np.abs(residual).max()))
    shown = (127.5 + residual * (127.5 / most)).round().astype(np.uint8)
    files = _write(ctx.out, "trigger", np.concatenate([clean, changed, shown], axis=3))
    caption = "The same samples without and with the trigger, and what it changes, around grey, times "
    caption += f"{127.5 / most:.1f}."
    return [Pictures(title="Trigger", caption=caption, files=files, columns=1)]


def _read(path: Path) -> Levels:
    with safe_open(path, framework="numpy") as file:
        found: Levels = file.get_tensor("samples")
        return found


def _write(folder: Path, name: str, levels: Levels) -> list[Path]:
    """PNG files of (N, C, H, W) 8-bit levels; of more than three channels the first three, of two the first."""
    files = []
    for index, picture in enumerate(levels[:, : 3 if levels.shape[1] >= 3 else 1].transpose(0, 2, 3, 1)):
        files.append(folder / f"{name}-{index:02d}.png")
        Image.fromarray(picture[:, :, 0] if picture.shape[2] == 1 else picture).save(files[-1])
    return files
