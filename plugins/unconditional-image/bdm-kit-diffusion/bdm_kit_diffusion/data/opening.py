"""Open training images: built-in, a folder, a sealed set, or a data set of the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bdm_core.artifacts import Data, Model
from bdm_core.errors import UserError
from bdm_kit_diffusion import TASK
from bdm_kit_diffusion.data.built_in_data import load_builtin
from bdm_kit_diffusion.data.image_source import ImageSource, find_images
from bdm_kit_diffusion.models.pipeline_folder import image_shape_of
from bdm_torch.data_folders import HUB_PATTERNS
from bdm_torch.image_sets import load_images, load_rows, seal_images
from bdm_torch.images import from_bytes, read_folder
from bdm_torch.references import fetch_snapshot


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
    return read_source(find_images(reference, model), model, folder, cache, limit)


def read_source(source: ImageSource, model: Model, folder: Path, cache: Path, limit: int | None = None) -> Data:
    """:func:`open_reference` of a reference that was looked up before."""
    shape = list(image_shape_of(model))
    if source.built_in is not None:
        images, rows = load_builtin(source.built_in)
        limit = min(limit or 32, 32) if source.built_in == "tiny" else limit
        return seal_images(folder, images[:limit], Data, task=TASK, rows=rows[:limit])
    if source.hub is not None:
        place = fetch_snapshot(source.hub, cache, HUB_PATTERNS, repo_type="dataset")
    else:
        assert source.folder is not None
        place = source.folder
        if source.sealed:
            return _reseal(Data.open(place), shape, folder, limit)
    return seal_images(folder, from_bytes(read_folder(place, shape, limit, cache / "tables")), Data, task=TASK)


def _reseal(data: Data, shape: list[int], folder: Path, limit: int | None) -> Data:
    """A copy of a sealed image set, for a model of the same shape."""
    images = load_images(data)
    if list(images.shape[1:]) != shape:
        raise UserError(f"{data.path} holds images of shape {list(images.shape[1:])}, the model takes {shape}")
    rows = [{key: value for key, value in row.items() if key != "file"} for row in load_rows(data)]
    layout: Any = data.meta["layout"]
    return seal_images(folder, images[:limit], Data, task=TASK, rows=rows[:limit], layout=layout)
