"""Open training images: built-in, a folder, a sealed set, or a data set of the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bdm_core.artifacts import Data, Model
from bdm_core.errors import UserError
from bdm_core.files import MANIFEST
from bdm_kit_diffusion import TASK
from bdm_kit_diffusion.data.built_in_data import BUILTIN_DATA, DEFAULT_DATA, SHAPES_DATA, load_builtin
from bdm_kit_diffusion.data.shapes import SHAPE as SHAPES_SHAPE
from bdm_kit_diffusion.models.diffusion_model import image_shape_of
from bdm_torch.image_sets import load_images, load_rows, seal_images
from bdm_torch.images import from_bytes, read_folder
from bdm_torch.references import fetch_snapshot, parse_hub_reference, suggest


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
    return seal_images(folder, images[:limit], Data, task=TASK, rows=rows)


def _reseal(data: Data, shape: list[int], folder: Path, limit: int | None) -> Data:
    """A copy of a sealed image set, for a model of the same shape."""
    images = load_images(data)
    if list(images.shape[1:]) != shape:
        raise UserError(f"{data.path} holds images of shape {list(images.shape[1:])}, the model takes {shape}")
    rows = [{key: value for key, value in row.items() if key != "file"} for row in load_rows(data)]
    layout: Any = data.meta["layout"]
    return seal_images(folder, images[:limit], Data, task=TASK, rows=rows[:limit], layout=layout)
