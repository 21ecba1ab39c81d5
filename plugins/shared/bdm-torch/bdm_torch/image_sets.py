"""Image sets as artifacts: images with a row of facts each.

An image set is a folder of PNG files with ``rows.jsonl``, or, for large sets of small images and values that are not
8-bit, one safetensors file. Both give back exactly what was written. PNG files are written and read a few at a time;
those of the last small sets that this process wrote need not be decoded again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from PIL import Image
from torch import Tensor

from bdm_core.artifacts import Artifact, Data, Outputs
from bdm_core.errors import ArtifactError, UserError
from bdm_torch.image_rows import ImageRows, batch_of
from bdm_torch.images import from_bytes, read_image, to_bytes
from bdm_torch.tensors import read_tensors, write_tensors

IMAGES = "images"
ROWS = "rows.jsonl"
MOST_PNG_FILES = 1024
LARGE_PICTURE = 2**14
"""Pixels from which on any number of images is kept as PNG files."""
SMALL_SET = 2**21
"""Values up to which the pixels of a set that was written as PNG files are remembered: 2 MiB."""
MOST_KEPT = 16
_KEPT: dict[tuple[str, str], Tensor] = {}
Set = TypeVar("Set", Data, Outputs)


def seal_images(
    folder: Path,
    images: Tensor | ImageRows | Mapping[str, Tensor],
    kind: type[Set],
    *,
    task: str,
    rows: Sequence[Mapping[str, Any]] | None = None,
    layout: Literal["auto", "png", "uint8", "float32"] = "auto",
    meta: Mapping[str, Any] | None = None,
) -> Set:
    """Write an image set and seal it.

    Args:
        folder: where to.
        images: (N, C, H, W) in [-1, 1]; rounded to 8 bits unless ``layout`` is ``float32``; ``ImageRows`` are read
            while they are written. Or several images of each row by name, e.g. ``{"images": ..., "triggers": ...}``;
            ``images`` must be among them.
        kind: ``Data`` or ``Outputs``.
        task: the tag of the task that they belong to.
        rows: facts about each image, as JSON.
        layout: ``png``; ``uint8`` or ``float32``: one safetensors file; ``auto``: png for grey or colour, up to 1024
            files or from 128x128 pixels on.
        meta: further facts for the manifest.

    >>> images = torch.stack([torch.full((1, 8, 8), -1.0), torch.full((1, 8, 8), 1.0)])
    >>> rows = [{"role": "clean"}, {"role": "poison"}]
    >>> data = seal_images(Path("data"), images, Data, task="unconditional-image-generation", rows=rows)
    >>> data.meta["count"], data.meta["shape"]
    (2, [1, 8, 8])
    >>> torch.equal(load_images(data), images)
    True
    """
    sets: dict[str, Tensor | ImageRows] = {IMAGES: images} if isinstance(images, Tensor | ImageRows) else dict(images)
    images = sets[IMAGES]
    if any(len(value.shape) != 4 or len(value) != len(images) for value in sets.values()):
        raise UserError(
            f"an image set needs tensors (N, C, H, W) of one N, got {[tuple(s.shape) for s in sets.values()]}"
        )
    if layout == "auto":
        few = len(images) * len(sets) <= MOST_PNG_FILES or images.shape[2] * images.shape[3] >= LARGE_PICTURE
        layout = "png" if few and all(value.shape[1] in (1, 3) for value in sets.values()) else "uint8"
    folder.mkdir(parents=True, exist_ok=True)
    pixels: dict[str, Tensor] = {}
    if layout == "png":
        pixels = {name: _write_png(folder / name, value) for name, value in sets.items()}
    else:
        ready = {name: to_bytes(value[:]) if layout == "uint8" else value[:].float() for name, value in sets.items()}
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
    sealed = kind.seal(folder, format=IMAGES, task=task, meta={**about, **(meta or {})})
    for name, value in pixels.items():
        _keep(sealed.digest, name, value)
    return sealed


def load_images(artifact: Data | Outputs, name: str = IMAGES) -> Tensor:
    """Images (N, C, H, W), float32 in [-1, 1], of an image set. Raises ArtifactError if there are none of that name.

    >>> sets = {"images": torch.zeros(2, 1, 8, 8), "triggers": torch.ones(2, 1, 8, 8)}
    >>> data = seal_images(Path("data"), sets, Data, task="unconditional-image-generation", layout="float32")
    >>> load_images(data).shape, float(load_images(data, "triggers").mean())
    (torch.Size([2, 1, 8, 8]), 1.0)
    """
    return open_images(artifact, name)[:]


def open_images(artifact: Data | Outputs, name: str = IMAGES) -> ImageRows:
    """As :func:`load_images`, but a row of a folder of PNG files is read when it is asked for.

    >>> data = seal_images(Path("data"), torch.ones(3, 1, 8, 8), Data, task="unconditional-image-generation")
    >>> images = open_images(data)
    >>> len(images), images[1:].shape
    (3, torch.Size([2, 1, 8, 8]))
    """
    if artifact.format != IMAGES:
        raise ArtifactError(f"{artifact.path} has the format {artifact.format!r}, expected {IMAGES!r}")
    meta: dict[str, Any] = artifact.meta
    if name not in meta["sets"]:
        raise ArtifactError(f"{artifact.path} has no set {name!r}; it has {', '.join(meta['sets'])}")
    if meta["layout"] == "png":
        files = [artifact.file(_png_name(name, index)) for index in range(meta["count"])]
        kept = _KEPT.get((artifact.digest, name))
        return (
            _open_png(files, meta["shape"])
            if kept is None
            else ImageRows(kept.shape, lambda rows: from_bytes(kept[rows]))
        )
    tensor = read_tensors(artifact.file(f"{IMAGES}.safetensors"))[name]
    if tensor.dtype != torch.uint8:
        return ImageRows.of(tensor)
    return ImageRows(tensor.shape, lambda rows: from_bytes(tensor[rows]))


def _open_png(files: Sequence[Path], shape: Sequence[int]) -> ImageRows:
    if not files:
        return ImageRows((0, *shape), lambda rows: torch.empty(0, *shape))
    with Image.open(files[0]) as first:
        found = (3 if first.mode == "RGB" else 1, first.height, first.width)

    def read(rows: list[int]) -> Tensor:
        images = torch.empty(len(rows), *found)
        for place, row in enumerate(rows):
            images[place] = from_bytes(torch.from_numpy(read_image(files[row], found).copy()))
        return images

    return ImageRows((len(files), *found), read)


def load_rows(artifact: Artifact) -> list[dict[str, Any]]:
    """The facts about each row, in order.

    >>> images, rows = torch.zeros(2, 1, 8, 8), [{"label": 3}, {"label": 5}]
    >>> data = seal_images(Path("data"), images, Data, task="unconditional-image-generation", rows=rows)
    >>> load_rows(data)[1]
    {'file': 'images/000001.png', 'label': 5}
    """
    lines = artifact.file(ROWS).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def _png_name(name: str, index: int) -> str:
    return f"{name}/{index:06d}.png"


def _write_png(folder: Path, images: Tensor | ImageRows) -> Tensor:
    """Write the files; gives back their pixels, uint8 (N, C, H, W), of a small set, or none of them."""
    folder.mkdir(parents=True, exist_ok=True)
    size = batch_of(images.shape, MOST_PNG_FILES)
    small, written = math.prod(images.shape) <= SMALL_SET, []
    for start in range(0, len(images), size):
        batch = to_bytes(images[start : start + size])
        if small:
            written.append(batch)
        for index, image in enumerate(batch.permute(0, 2, 3, 1).numpy(), start):
            grey = image.shape[2] == 1
            Image.fromarray(image[:, :, 0] if grey else image).save(f"{folder}/{index:06d}.png", compress_level=1)
    return torch.cat(written) if written else torch.empty(0, dtype=torch.uint8)


def _keep(digest: str, name: str, pixels: Tensor) -> None:
    """Remember the pixels of a small set of PNG files by the digest that its files are verified against."""
    if len(pixels):
        _KEPT[digest, name] = pixels
    while len(_KEPT) > MOST_KEPT:
        del _KEPT[next(iter(_KEPT))]


def _write_rows(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    text = "".join(json.dumps(row, sort_keys=True) + "\n" for row in rows)
    (folder / ROWS).write_text(text, encoding="utf-8")
