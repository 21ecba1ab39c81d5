"""New data of chosen rows: prompts, captioned images, prompt pairs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bdm_core.artifacts import ROWS, Data, rows_of
from bdm_core.errors import ArtifactError
from bdm_kit_text_to_image import TASK
from bdm_kit_text_to_image.prompts import prompt_pairs, prompt_rows

IMAGES = "images"
VISIBLE = {prompt_rows.FORMAT: ("prompt", "seed"), prompt_pairs.FORMAT: ("prompt", "teacher"), IMAGES: ("caption",)}
"""Format -> what a row says when it is blind. Labels would tell which captions are wrong."""


def select_rows(sources: Sequence[Data], rows: Sequence[int], folder: Path, *, blind: bool = False) -> Data:
    """The chosen rows, sealed in ``folder``; what lies beside them, as an attack's target, stays behind.

    Args:
        sources: data of one format; their rows are counted through, one source after the other.
        rows: which rows, in the order wanted; there may be none.
        folder: where to.
        blind: keep only what :data:`VISIBLE` names, and no fact of the manifest that tells where the rows come from.

    Raises:
        ArtifactError: data of a format that the kit does not know, or of several.

    >>> from bdm_kit_text_to_image.prompts.prompt_rows import PromptRow, seal_prompts
    >>> rows = [PromptRow("a star", seed=7, labels={"object": "star"}), PromptRow("a ring", seed=8)]
    >>> chosen = select_rows([seal_prompts(Path("prompts"), rows)], [1, 0], Path("chosen"), blind=True)
    >>> rows_of(chosen)
    [{'prompt': 'a ring', 'seed': 8}, {'prompt': 'a star', 'seed': 7}]
    """
    formats = {source.format for source in sources}
    if len(formats) > 1 or not formats <= VISIBLE.keys():
        raise ArtifactError(f"rows of data in format {', '.join(sorted(formats))} cannot be selected")
    (layout,) = formats
    records = [record for source in sources for record in rows_of(source)]
    chosen = [records[row] for row in rows]
    if blind:
        chosen = [{name: record[name] for name in VISIBLE[layout] if name in record} for record in chosen]
    if layout == IMAGES:
        return _images(sources, rows, folder, chosen, blind)
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(record, sort_keys=True, ensure_ascii=True) + "\n" for record in chosen]
    (folder / ROWS).write_text("".join(lines), encoding="utf-8")
    return Data.seal(folder, format=layout, task=TASK, meta={"count": len(chosen)})


def _images(
    sources: Sequence[Data], rows: Sequence[int], folder: Path, records: list[dict[str, Any]], blind: bool
) -> Data:
    from functools import reduce

    from bdm_torch.image_rows import ImageRows
    from bdm_torch.image_sets import open_images, seal_images

    images = reduce(ImageRows.followed_by, map(open_images, sources)).pick(rows)
    facts = [{name: value for name, value in record.items() if name != "file"} for record in records]
    kept = ("captioned",) if blind else ("captioned", "source")
    meta = {name: value for name, value in sources[0].meta.items() if name in kept}
    exact = any(source.meta["layout"] == "float32" for source in sources)
    return seal_images(folder, images, Data, task=TASK, rows=facts, layout="float32" if exact else "auto", meta=meta)
