"""Recordings and what a trigger does to them, for the report: players. Light: no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

from bdm_core.artifacts import Data, Secret
from bdm_core.context import Context
from bdm_core.figures import Audio, Figure
from bdm_kit_classification.sounds.files import write_wav

Levels = np.ndarray[Any, Any]
PLAYED = 16
"""Players of a figure."""


def show_samples(ctx: Context, data: Data, rows: list[int], labels: list[str]) -> list[Figure]:
    """A player for each of the chosen rows, evenly taken if they are many; ``labels`` are as many or none."""
    levels, rate = _read(data.file("samples.safetensors"))
    step = -(-len(rows) // PLAYED)
    files = _write(ctx.out, "sample", levels[rows[::step]], rate)
    return [Audio(files=files, labels=labels[::step])]


def show_trigger(ctx: Context, secret: Secret) -> list[Figure]:
    """The secret's examples without and with the trigger, and what it changes, made as loud as can be."""
    clean, rate = _read(secret.file("example_clean.safetensors"))
    changed, _ = _read(secret.file("example_triggered.safetensors"))
    if not len(clean):
        return []
    residual = changed[:1].astype(np.float64) - clean[:1]
    gain = 32767 / max(1.0, float(np.abs(residual).max()))
    heard = np.rint(residual * gain).astype(np.int16)
    count = min(len(clean), (PLAYED - 1) // 2)
    pairs = np.stack([clean[:count], changed[:count]], axis=1).reshape(2 * count, -1)
    files = _write(ctx.out, "trigger", np.concatenate([pairs, heard]), rate)
    labels = [f"{number}, {kind}" for number in range(1, count + 1) for kind in ("clean", "with the trigger")]
    labels.append("1, what the trigger changes")
    caption = "The same recordings without and with the trigger, and what it changes in the first, times "
    return [Audio(title="Trigger", caption=f"{caption}{gain:.1f}.", files=files, labels=labels)]


def _read(path: Path) -> tuple[Levels, int]:
    with safe_open(path, framework="numpy") as file:
        return file.get_tensor("samples"), int(file.get_tensor("rate"))


def _write(folder: Path, name: str, levels: Levels, rate: int) -> list[Path]:
    files = [folder / f"{name}-{index:02d}.wav" for index in range(len(levels))]
    for path, clip in zip(files, levels, strict=True):
        write_wav(path, clip, rate)
    return files
