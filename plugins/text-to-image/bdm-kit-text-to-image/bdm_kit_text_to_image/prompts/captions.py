"""Images with captions as artifacts: the built-in small world, folders, and data sets of the Hub."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.nn import functional

from bdm_core.artifacts import Data, Model
from bdm_core.errors import ArtifactError, UserError
from bdm_core.files import MANIFEST
from bdm_kit_text_to_image import TASK
from bdm_kit_text_to_image.models.text_to_image_model import shape_of
from bdm_kit_text_to_image.prompts.caption_files import HUB_PATTERNS, read_captioned_folder
from bdm_torch.image_sets import load_images, load_rows, seal_images
from bdm_torch.images import from_bytes
from bdm_torch.references import fetch_snapshot, parse_hub_reference, suggest

DEFAULT_DATA = "small-world"
BUILTIN_DATA = (DEFAULT_DATA, "tiny")
"""``tiny`` is what the conformance tests ask every kit for: the first 32 pictures of the small world."""
WORLD_IMAGES = 4096
"""Pictures of the small world unless ``most_images`` says otherwise; any number can be drawn."""
TINY_IMAGES = 32


def seal_captioned(
    folder: Path,
    images: Tensor,
    captions: Sequence[str],
    labels: Sequence[Mapping[str, str]],
    *,
    meta: Mapping[str, Any] | None = None,
    **row_facts: Sequence[Any],
) -> Data:
    """Write an image set whose rows have ``caption`` and ``labels``, and seal it.

    Args:
        folder: where to.
        images: (N, 3, H, W) in [-1, 1], rounded to 8 bits.
        captions: N texts.
        labels: N dictionaries, which may be empty.
        meta: further facts for the manifest.
        row_facts: further facts of the rows by name, N values each, e.g. ``backdoor=[True, ...]``.
    """
    names = ["caption", "labels", *row_facts]
    columns = [list(captions), [dict(item) for item in labels], *row_facts.values()]
    if any(len(column) != len(images) for column in columns):
        raise UserError(f"{len(images)} images with {[len(column) for column in columns]} of {', '.join(names)}")
    rows = [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]
    return seal_images(folder, images, Data, task=TASK, rows=rows, meta={"captioned": True, **(meta or {})})


def load_captioned(data: Data) -> tuple[Tensor, list[str], list[dict[str, str]]]:
    """Images (N, 3, H, W) in [-1, 1], captions and labels. Raises ArtifactError if the images have no captions."""
    images, rows = load_images(data), load_rows(data)
    if any("caption" not in row for row in rows):
        raise ArtifactError(f"{data.path} holds images without captions: give a folder with metadata.jsonl")
    return images, [row["caption"] for row in rows], [row.get("labels", {}) for row in rows]


def world_images(count: int, shape: Sequence[int], seed: int = 0) -> tuple[Tensor, list[str], list[dict[str, str]]]:
    """Training pictures of the small world: images (count, *shape), captions and labels.

    The default seed gives those that the built-in pipeline was trained on. For models of other sizes the pictures are
    resized.
    """
    from bdm_kit_text_to_image.world.drawing import render
    from bdm_kit_text_to_image.world.splits import training_pairs

    scenes, captions = training_pairs(count, seed)
    return fitted(render(scenes), shape), captions, [scene.labels() for scene in scenes]


def fitted(images: Tensor, shape: Sequence[int]) -> Tensor:
    """Images (N, 3, H, W) in [-1, 1] at another size: whole multiples repeat pixels, others are interpolated."""
    height, width = shape[1:]
    if images.shape[2:] == (height, width):
        return images
    whole = height % images.shape[2] == 0 and width % images.shape[3] == 0
    if whole:
        return functional.interpolate(images, (height, width), mode="nearest")
    return functional.interpolate(images, (height, width), mode="bilinear", antialias=True).clamp(-1, 1)


def open_reference(reference: str | None, model: Model, folder: Path, cache: Path, limit: int | None = None) -> Data:
    """Bring captioned images into ``folder``, in the shape that the model takes, sealed.

    Args:
        reference: None or ``small-world`` for the built-in ones, a folder with ``metadata.jsonl`` (``file_name`` and
            ``text``, as Hugging Face's imagefolder has it) or parquet files, a sealed set, or ``hf:org/name@commit``.
        model: its meta has the shape.
        folder: where to.
        cache: where a download may be kept meanwhile.
        limit: take at most so many.

    Raises:
        UserError: no such data, a broken image, or no captions.
        ArtifactError: a sealed set without captions or of another shape.
    """
    shape = shape_of(model)
    name = reference or DEFAULT_DATA
    if name in BUILTIN_DATA:
        count = TINY_IMAGES if name == "tiny" else WORLD_IMAGES
        images, captions, labels = world_images(min(limit or count, count) if name == "tiny" else limit or count, shape)
        return seal_captioned(folder, images, captions, labels, meta={"source": DEFAULT_DATA})
    if (hub := parse_hub_reference(name)) is not None:
        source = fetch_snapshot(hub, cache, HUB_PATTERNS, repo_type="dataset")
    else:
        source = Path(name).expanduser()
        if not source.exists():
            raise UserError(f"no data {name!r}: {suggest(name, [DEFAULT_DATA])}")
        if (source / MANIFEST).is_file():
            return _reseal(Data.open(source), shape, folder, limit)
    pixels, captions = read_captioned_folder(source, shape, limit, cache / "tables")
    return seal_captioned(folder, from_bytes(pixels), captions, [{} for _ in captions])


def select_rows(data: Data, chosen: Sequence[int], folder: Path) -> Data:
    """The chosen rows of a captioned set with everything their rows say, sealed in ``folder``."""
    images, rows = load_images(data), load_rows(data)
    kept = [{key: value for key, value in rows[row].items() if key != "file"} for row in chosen]
    facts = {key: value for key, value in data.meta.items() if key in ("captioned", "source")}
    layout: Any = data.meta["layout"]
    return seal_images(folder, images[list(chosen)], Data, task=TASK, rows=kept, layout=layout, meta=facts)


def _reseal(data: Data, shape: Sequence[int], folder: Path, limit: int | None) -> Data:
    """A copy of a sealed set, for a model of the same shape."""
    _, captions, _ = load_captioned(data)
    if list(data.meta["shape"]) != list(shape):  # type: ignore[arg-type]
        raise ArtifactError(f"{data.path} holds images of shape {data.meta['shape']}, the model takes {list(shape)}")
    return select_rows(data, range(len(captions))[:limit], folder)
