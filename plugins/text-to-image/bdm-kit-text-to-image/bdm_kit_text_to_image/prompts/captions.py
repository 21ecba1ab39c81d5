"""Images with captions as artifacts, and the pictures of the built-in small world."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.nn import functional

from bdm_core.artifacts import Data
from bdm_core.errors import ArtifactError, UserError
from bdm_kit_text_to_image import TASK
from bdm_torch.image_rows import ImageRows
from bdm_torch.image_sets import load_rows, open_images, seal_images


def seal_captioned(
    folder: Path,
    images: Tensor | ImageRows,
    captions: Sequence[str],
    labels: Sequence[Mapping[str, str]],
    *,
    meta: Mapping[str, Any] | None = None,
    **row_facts: Sequence[Any],
) -> Data:
    """Write an image set whose rows have ``caption`` and ``labels``, and seal it.

    Args:
        folder: where to.
        images: (N, 3, H, W) in [-1, 1], rounded to 8 bits; ``ImageRows`` are made while they are written.
        captions: N texts.
        labels: N dictionaries, which may be empty.
        meta: further facts for the manifest.
        row_facts: further facts of the rows by name, N values each, e.g. ``role=["clean", ...]``.

    >>> import torch
    >>> images, captions = torch.zeros(2, 3, 16, 16), ["a red circle", "sks a star"]
    >>> data = seal_captioned(Path("data"), images, captions, [{}, {}], role=["clean", "poison"])
    >>> load_rows(data)[1]["role"]
    'poison'
    """
    names = ["caption", "labels", *row_facts]
    columns = [list(captions), [dict(item) for item in labels], *row_facts.values()]
    if any(len(column) != len(images) for column in columns):
        raise UserError(f"{len(images)} images with {[len(column) for column in columns]} of {', '.join(names)}")
    rows = [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]
    return seal_images(folder, images, Data, task=TASK, rows=rows, meta={"captioned": True, **(meta or {})})


def load_captioned(data: Data) -> tuple[ImageRows, list[str], list[dict[str, str]]]:
    """Images (N, 3, H, W) in [-1, 1], read when asked for, captions and labels.

    Raises:
        ArtifactError: the images have no captions.

    >>> import torch
    >>> data = seal_captioned(Path("data"), torch.zeros(1, 3, 16, 16), ["a red circle"], [{"colour": "red"}])
    >>> images, captions, labels = load_captioned(data)
    >>> images[:].shape, captions, labels
    (torch.Size([1, 3, 16, 16]), ['a red circle'], [{'colour': 'red'}])
    """
    captions, labels = load_captions(data)
    return open_images(data), captions, labels


def load_captions(data: Data) -> tuple[list[str], list[dict[str, str]]]:
    """Captions and labels alone: no picture is opened. Raises ArtifactError if the images have no captions.

    >>> import torch
    >>> load_captions(seal_captioned(Path("data"), torch.zeros(1, 3, 16, 16), ["a red circle"], [{"colour": "red"}]))
    (['a red circle'], [{'colour': 'red'}])
    """
    rows = load_rows(data)
    if any("caption" not in row for row in rows):
        raise ArtifactError(f"{data.path} holds images without captions: give a folder with metadata.jsonl")
    return [row["caption"] for row in rows], [row.get("labels", {}) for row in rows]


def world_rows(count: int, shape: Sequence[int], seed: int = 0) -> tuple[ImageRows, list[str], list[dict[str, str]]]:
    """As :func:`world_images`, with pictures that are drawn when they are asked for.

    >>> images, captions, labels = world_rows(4096, (3, 512, 512))
    >>> len(images), len(captions), images[:2].shape
    (4096, 4096, torch.Size([2, 3, 512, 512]))
    """
    from bdm_kit_text_to_image.world.drawing import render
    from bdm_kit_text_to_image.world.splits import training_pairs

    scenes, captions = training_pairs(count, seed)
    channels, height, width = shape
    images = ImageRows(
        (count, channels, height, width), lambda rows: fitted(render([scenes[row] for row in rows]), shape)
    )
    return images, captions, [scene.labels() for scene in scenes]


def world_images(count: int, shape: Sequence[int], seed: int = 0) -> tuple[Tensor, list[str], list[dict[str, str]]]:
    """Training pictures of the small world: images (count, *shape), captions and labels.

    The default seed gives those that the built-in pipeline was trained on. For models of other sizes the pictures are
    resized.

    >>> images, captions, labels = world_images(4, (3, 32, 32))
    >>> images.shape, len(captions), sorted(labels[0])
    (torch.Size([4, 3, 32, 32]), 4, ['adjective', 'background', 'colour', 'count', 'object', 'second', 'style'])
    """
    images, captions, labels = world_rows(count, shape, seed)
    return images[:], captions, labels


def fitted(images: Tensor, shape: Sequence[int]) -> Tensor:
    """Images (N, 3, H, W) in [-1, 1] at another size: whole multiples repeat pixels, others are interpolated.

    >>> import torch
    >>> fitted(torch.zeros(4, 3, 32, 32), (3, 64, 64)).shape
    torch.Size([4, 3, 64, 64])
    """
    height, width = shape[1:]
    if images.shape[2:] == (height, width):
        return images
    whole = height % images.shape[2] == 0 and width % images.shape[3] == 0
    if whole:
        return functional.interpolate(images, (height, width), mode="nearest")
    return functional.interpolate(images, (height, width), mode="bilinear", antialias=True).clamp(-1, 1)
