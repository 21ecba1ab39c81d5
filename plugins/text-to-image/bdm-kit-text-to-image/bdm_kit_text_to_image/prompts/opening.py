"""Bring captioned images into a folder: the built-in small world, a folder, or a data set of the Hub.

This module is light: what is no data is refused before torch is imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bdm_core.artifacts import Data, Model
from bdm_core.errors import ArtifactError, UserError
from bdm_core.files import MANIFEST, existing
from bdm_kit_text_to_image.prompts.caption_files import HUB_PATTERNS, caption_sources, read_captioned_folder
from bdm_torch.references import fetch_snapshot, parse_hub_reference, suggest

DEFAULT_DATA, TINY_DATA = "small-world", "tiny"
"""``tiny`` is what the conformance tests ask every kit for: the first 32 pictures of the small world."""
WORLD_IMAGES = 4096
"""Pictures of the small world unless ``most_images`` says otherwise; any number can be drawn."""
TINY_IMAGES = 32


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
    name = reference or DEFAULT_DATA
    source = None if name in (DEFAULT_DATA, TINY_DATA) else _source(name, cache)
    from bdm_kit_text_to_image.models.text_to_image_model import shape_of
    from bdm_kit_text_to_image.prompts.captions import seal_captioned, world_rows

    shape = shape_of(model)
    if source is None:
        count = min(limit or TINY_IMAGES, TINY_IMAGES) if name == TINY_DATA else limit or WORLD_IMAGES
        images, captions, labels = world_rows(count, shape)
        return seal_captioned(folder, images, captions, labels, meta={"source": DEFAULT_DATA})
    if (source / MANIFEST).is_file():
        return _reseal(Data.open(source), shape, folder, limit)
    images, captions = read_captioned_folder(source, shape, limit, cache / "tables")
    return seal_captioned(folder, images, captions, [{} for _ in captions])


def _source(name: str, cache: Path) -> Path:
    if (hub := parse_hub_reference(name)) is not None:
        return fetch_snapshot(hub, cache, HUB_PATTERNS, repo_type="dataset")
    source = existing(name)
    if source is None:
        raise UserError(f"no data {name!r}: {suggest(name, [DEFAULT_DATA])}")
    if not (source / MANIFEST).is_file():
        caption_sources(source)
    return source


def _reseal(data: Data, shape: Sequence[int], folder: Path, limit: int | None) -> Data:
    """A copy of a sealed set, for a model of the same shape."""
    from bdm_kit_text_to_image.prompts.captions import load_captions
    from bdm_kit_text_to_image.prompts.selection import select_rows

    captions, _ = load_captions(data)
    if list(data.meta["shape"]) != list(shape):  # type: ignore[arg-type]
        raise ArtifactError(f"{data.path} holds images of shape {data.meta['shape']}, the model takes {list(shape)}")
    return select_rows([data], range(len(captions))[:limit], folder)
