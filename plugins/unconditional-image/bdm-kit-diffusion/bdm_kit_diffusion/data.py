"""Image sets and initial noise as artifacts; the built-in data sets.

An image set is a folder of PNG files with ``rows.jsonl``, or, for large sets and values that are not 8-bit, one
safetensors file. Both give back exactly what was written. Initial noise is one safetensors file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from PIL import Image
from torch import Tensor

from bdm_core.artifacts import MANIFEST, Artifact, Data, Model, Outputs
from bdm_core.errors import ArtifactError, UserError
from bdm_kit_diffusion.images import from_bytes, read_folder, read_image, to_bytes
from bdm_kit_diffusion.models import image_shape_of
from bdm_kit_diffusion.references import fetch_snapshot, parse_hub_reference, suggest
from bdm_kit_diffusion.shapes import SHAPE as SHAPES_SHAPE
from bdm_kit_diffusion.shapes import load_shapes
from bdm_kit_diffusion.tensors import read_tensors, write_tensors

TASK = "unconditional-image-generation"
DEFAULT_DATA, SHAPES_DATA = "digits", "shapes"
BUILTIN_DATA = (DEFAULT_DATA, SHAPES_DATA, "tiny")
"""``tiny`` is what the conformance tests ask every kit for: the first 32 digits."""
IMAGES, NOISE = "images", "noise"
ROWS = "rows.jsonl"
MOST_PNG_FILES = 1024
Set = TypeVar("Set", Data, Outputs)


def load_digits() -> tuple[Tensor, Tensor]:
    """scikit-learn's handwritten digits: images (1797, 1, 8, 8) in [-1, 1] at 8-bit levels, labels (1797,) int64."""
    from sklearn.datasets import load_digits as bundled

    digits = bundled()
    return from_bytes(to_bytes(torch.tensor(digits.images)[:, None] / 8 - 1)), torch.tensor(digits.target)


def load_builtin(name: str) -> tuple[Tensor, list[dict[str, Any]]]:
    """A built-in data set by name: images (N, C, H, W) in [-1, 1], and what each shows; all have a ``label``.

    ``digits`` are 1797 pictures 1x8x8 of ten classes, ``shapes`` 2048 pictures 3x16x16 of eight.
    """
    if name == SHAPES_DATA:
        shapes = load_shapes()
        return shapes.images, shapes.rows()
    images, labels = load_digits()
    return images, [{"label": int(label)} for label in labels]


def seal_images(
    folder: Path,
    images: Tensor,
    kind: type[Set],
    *,
    rows: Sequence[Mapping[str, Any]] | None = None,
    others: Mapping[str, Tensor] | None = None,
    layout: Literal["auto", "png", "uint8", "float32"] = "auto",
    meta: Mapping[str, Any] | None = None,
) -> Set:
    """Write an image set and seal it.

    Args:
        folder: where to.
        images: (N, C, H, W) in [-1, 1]; rounded to 8 bits unless ``layout`` is ``float32``.
        kind: ``Data`` or ``Outputs``.
        rows: facts about each image, as JSON.
        others: further images of each row by name, e.g. ``{"triggers": ...}``, each (N, C, H, W).
        layout: ``png``; ``uint8`` or ``float32``: one safetensors file; ``auto``: png up to 1024
            files of grey or colour.
        meta: further facts for the manifest.
    """
    sets = {IMAGES: images, **(others or {})}
    if any(value.ndim != 4 or len(value) != len(images) for value in sets.values()):
        raise UserError(
            f"an image set needs tensors (N, C, H, W) of one N, got {[tuple(s.shape) for s in sets.values()]}"
        )
    if layout == "auto":
        small = len(images) * len(sets) <= MOST_PNG_FILES and all(value.shape[1] in (1, 3) for value in sets.values())
        layout = "png" if small else "uint8"
    folder.mkdir(parents=True, exist_ok=True)
    if layout == "png":
        for name, value in sets.items():
            _write_png(folder / name, to_bytes(value))
    else:
        ready = {name: to_bytes(value) if layout == "uint8" else value.float() for name, value in sets.items()}
        write_tensors(folder / f"{IMAGES}.safetensors", ready)
    facts = [dict(row) for row in rows] if rows is not None else [{} for _ in range(len(images))]
    if len(facts) != len(images):
        raise UserError(f"{len(facts)} rows for {len(images)} images")
    if layout == "png":
        facts = [{"file": _png_name(IMAGES, index), **row} for index, row in enumerate(facts)]
    _write_rows(folder, facts)
    about: dict[str, Any] = {
        "count": len(images),
        "shape": list(images.shape[1:]),
        "layout": layout,
        "sets": sorted(sets),
    }
    return kind.seal(folder, format=IMAGES, task=TASK, meta={**about, **(meta or {})})


def load_images(artifact: Data | Outputs, name: str = IMAGES) -> Tensor:
    """Images (N, C, H, W), float32 in [-1, 1], of an image set. Raises ArtifactError if there are none of that name."""
    _expect(artifact, IMAGES)
    meta: dict[str, Any] = artifact.meta
    if name not in meta["sets"]:
        raise ArtifactError(f"{artifact.path} has no set {name!r}; it has {', '.join(meta['sets'])}")
    if meta["layout"] == "png":
        files = [artifact.file(_png_name(name, index)) for index in range(meta["count"])]
        if not files:
            return torch.empty(0, *meta["shape"])
        with Image.open(files[0]) as first:
            shape = (3 if first.mode == "RGB" else 1, first.height, first.width)
        return from_bytes(torch.stack([torch.from_numpy(read_image(file, shape).copy()) for file in files]))
    tensor = read_tensors(artifact.file(f"{IMAGES}.safetensors"))[name]
    return from_bytes(tensor) if tensor.dtype == torch.uint8 else tensor


def load_rows(artifact: Artifact) -> list[dict[str, Any]]:
    """The facts about each row, in order."""
    lines = artifact.file(ROWS).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def seal_noise(folder: Path, noise: Tensor, *, meta: Mapping[str, Any] | None = None) -> Data:
    """Write initial noise x_T (N, C, H, W), float32, as ``noise.safetensors``, and seal it."""
    write_tensors(folder / f"{NOISE}.safetensors", {NOISE: noise.float()})
    about: dict[str, Any] = {"count": len(noise), "shape": list(noise.shape[1:])}
    return Data.seal(folder, format=NOISE, task=TASK, meta={**about, **(meta or {})})


def load_noise(data: Data) -> Tensor:
    """Initial noise x_T (N, C, H, W), float32. Raises ArtifactError if the data is something else."""
    _expect(data, NOISE)
    return read_tensors(data.file(f"{NOISE}.safetensors"))[NOISE]


def open_reference(reference: str | None, model: Model, folder: Path, cache: Path, limit: int | None = None) -> Data:
    """Bring training images into ``folder``, in the shape that the model takes, sealed.

    Args:
        reference: ``digits`` or ``shapes``, a folder of images or of parquet files, a sealed image set, or
            ``hf:org/name@commit``; None for the built-in set of the model's shape.
        model: its meta has the shape.
        folder: where to.
        cache: where a download may be kept meanwhile.
        limit: take at most so many.

    Raises:
        UserError: no such data, a broken image, or a built-in set for a model of another shape.
    """
    shape = list(image_shape_of(model))
    rows: list[dict[str, Any]] | None = None
    name = reference or (SHAPES_DATA if shape == SHAPES_SHAPE else DEFAULT_DATA)
    if name in BUILTIN_DATA:
        images, rows = load_builtin(name)
        limit = min(limit or 32, 32) if name == "tiny" else limit
        if shape != list(images.shape[1:]):
            size = "x".join(map(str, images.shape[1:]))
            raise UserError(
                f"the model makes images of shape {shape}, the built-in {name} are {size}: name data with --data"
            )
        rows = rows[:limit]
    elif (hub := parse_hub_reference(name)) is not None:
        patterns = ["*.png", "*.jpg", "*.jpeg", "*.parquet"]
        source = fetch_snapshot(hub, cache, patterns, repo_type="dataset")
        images = from_bytes(read_folder(source, shape, limit, cache / "tables"))
    else:
        source = Path(name).expanduser()
        if not source.exists():
            raise UserError(f"no data {name!r}: {suggest(name, [DEFAULT_DATA, SHAPES_DATA])}")
        if (source / MANIFEST).is_file():
            return _reseal(Data.open(source), shape, folder, limit)
        images = from_bytes(read_folder(source, shape, limit, cache / "tables"))
    return seal_images(folder, images[:limit], Data, rows=rows)


def _reseal(data: Data, shape: list[int], folder: Path, limit: int | None) -> Data:
    """A copy of a sealed image set, for a model of the same shape."""
    images = load_images(data)
    if list(images.shape[1:]) != shape:
        raise UserError(f"{data.path} holds images of shape {list(images.shape[1:])}, the model takes {shape}")
    rows = [{key: value for key, value in row.items() if key != "file"} for row in load_rows(data)]
    layout: Any = data.meta["layout"]
    return seal_images(folder, images[:limit], Data, rows=rows[:limit], layout=layout)


def _expect(artifact: Artifact, format: str) -> None:
    if artifact.format != format:
        raise ArtifactError(f"{artifact.path} has the format {artifact.format!r}, expected {format!r}")


def _png_name(name: str, index: int) -> str:
    return f"{name}/{index:06d}.png"


def _write_png(folder: Path, images: Tensor) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index, image in enumerate(images.permute(0, 2, 3, 1).numpy()):
        pixels = image[:, :, 0] if image.shape[2] == 1 else image
        Image.fromarray(pixels).save(folder / f"{index:06d}.png", compress_level=1)


def _write_rows(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    text = "".join(json.dumps(row, sort_keys=True) + "\n" for row in rows)
    (folder / ROWS).write_text(text, encoding="utf-8")
