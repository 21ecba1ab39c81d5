"""What a person sees of images, initial noise, a secret or an inverted trigger. Light: no torch."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors import safe_open

from bdm_core.artifacts import ROWS, Artifact, Data, Evidence, Outputs, Secret, rows_of
from bdm_core.context import Context
from bdm_core.figures import Arrays, Figure, Pictures

SHOWN, COLUMNS = 32, 8
"""Pictures of a figure, and in a row of it."""
OF_A_ROLE = 8
NOISE_LIMIT = 3.0
"""Noise is drawn from minus this (black) to this (white), in standard deviations."""


def illustrate(ctx: Context, artifact: Artifact) -> list[Figure] | None:
    """The figures of an artifact of this kit; None for others, and none where there is no row."""
    if isinstance(artifact, Data | Outputs) and artifact.format == "images":
        return _images(ctx, artifact)
    if isinstance(artifact, Data) and artifact.format == "noise":
        return _noise(ctx, artifact)
    if isinstance(artifact, Secret) and artifact.format == "diffusion-secret":
        target = Pictures(title="Target", files=[artifact.file("target.png")])
        return [target, _trigger(artifact, "Trigger", {"trigger": "true trigger", "noise_scale": "its deviation"})]
    if isinstance(artifact, Evidence) and artifact.format == "inverted-trigger":
        found = _trigger(artifact, "Inverted trigger", {"trigger": "inverted trigger", "deviation": "its deviation"})
        samples = [artifact.path / name for name in sorted(artifact.files) if name.startswith("samples/")]
        caption = "What the model makes of noise with the inverted trigger."
        drawn = [Pictures(title="Samples", caption=caption, files=samples[:SHOWN], columns=COLUMNS)] if samples else []
        return [found, *drawn]
    return None


def _images(ctx: Context, artifact: Data | Outputs) -> list[Figure]:
    count: Any = artifact.meta["count"]
    rows = list(range(min(count, SHOWN)))
    labels: list[str] = []
    roles = [row.get("role") for row in rows_of(artifact)] if ROWS in artifact.files else []
    if any(roles):
        named = [role for role in ("poison", "cover", "negative", "clean") if role in roles]
        chosen = {name: [row for row, role in enumerate(roles) if role == name][:OF_A_ROLE] for name in named}
        rows = list(itertools.chain.from_iterable(chosen.values()))
        labels = [name for name, found in chosen.items() for _ in found]
    if not rows:
        return []
    if artifact.meta["layout"] == "png":
        files = [artifact.file(f"images/{row:06d}.png") for row in rows]
    else:
        values = _first_rows(artifact.file("images.safetensors"), "images", max(rows) + 1)[rows]
        levels = values if values.dtype == np.uint8 else _levels(values)
        files = _write(ctx.out, levels)
    return [Pictures(files=files, labels=labels, columns=COLUMNS)]


def _noise(ctx: Context, artifact: Data) -> list[Figure]:
    count: Any = artifact.meta["count"]
    if not count:
        return []
    values = _first_rows(artifact.file("noise.safetensors"), "noise", min(count, SHOWN))
    caption = f"Initial noise from -{NOISE_LIMIT:g} (black) to {NOISE_LIMIT:g} (white)."
    if values.shape[1] > 3:
        caption += " Of the latents the first three channels."
    return [Pictures(files=_write(ctx.out, _levels(values / NOISE_LIMIT)), columns=COLUMNS, caption=caption)]


def _trigger(artifact: Secret | Evidence, title: str, names: dict[str, str]) -> Figure:
    """The tensors to look at on one scale, or, of latents, the picture."""
    path = artifact.file("tensors.safetensors")
    with safe_open(path, framework="numpy") as file:
        tensors = {shown: file.get_tensor(name) for name, shown in names.items() if name in file.keys()}  # noqa: SIM118
    shape = next(iter(tensors.values())).shape
    if shape[0] not in (1, 3):
        return Pictures(title=title, files=[artifact.file("trigger.png")])
    values = {name: np.asarray(value, dtype=np.float64).ravel().tolist() for name, value in tensors.items()}
    return Arrays(title=title, values=values, shape=(shape[0], shape[1], shape[2]))


def _first_rows(path: Path, name: str, count: int) -> np.ndarray[Any, Any]:
    with safe_open(path, framework="numpy") as file:
        found: np.ndarray[Any, Any] = file.get_slice(name)[:count]
        return found


def _levels(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Values in [-1, 1] (clipped) as 8-bit levels."""
    return np.rint((np.clip(values, -1, 1) + 1) * 127.5).astype(np.uint8)


def _write(folder: Path, levels: np.ndarray[Any, Any]) -> list[Path]:
    """PNG files of (N, C, H, W) 8-bit levels; of more than three channels the first three, of two the first."""
    shown = levels[:, : 3 if levels.shape[1] >= 3 else 1]
    files = []
    for index, image in enumerate(shown.transpose(0, 2, 3, 1)):
        files.append(folder / f"{index:02d}.png")
        Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).save(files[-1])
    return files
