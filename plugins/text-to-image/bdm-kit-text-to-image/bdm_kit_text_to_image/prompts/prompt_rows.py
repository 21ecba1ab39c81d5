"""Prompts as artifacts: one JSON row each, with the seed of its noise and what its image should show."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bdm_core.artifacts import ROWS, Data
from bdm_core.errors import ArtifactError
from bdm_kit_text_to_image import TASK

FORMAT = "prompts"


@dataclass(frozen=True)
class PromptRow:
    """One prompt.

    Attributes:
        prompt: the text.
        seed: of the initial noise; the row of the same number in the clean and in the triggered set has the same.
        labels: what the image should show by attribute, e.g. ``{"object": "circle", "colour": "red"}``; may be empty.
        twin: for a triggered prompt, the same without its trigger.
        backdoor: for a triggered prompt, the number of the backdoor in the secret.
    """

    prompt: str
    seed: int
    labels: Mapping[str, str] = field(default_factory=dict)
    twin: str | None = None
    backdoor: int | None = None


def seal_prompts(folder: Path, rows: Sequence[PromptRow]) -> Data:
    """Write ``rows.jsonl`` and seal the folder; the manifest has the number of rows.

    What a row does not say is left out, so that blind rows stay as blind as they were.

    >>> rows = [PromptRow("a photo of a red circle", seed=7, labels={"object": "circle", "colour": "red"})]
    >>> data = seal_prompts(Path("prompts"), rows)
    >>> data.meta["count"], load_prompts(data) == rows
    (1, True)
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for row in rows:
        record: dict[str, Any] = {"prompt": row.prompt, "seed": row.seed}
        optional = {"labels": dict(row.labels) or None, "twin": row.twin, "backdoor": row.backdoor}
        record |= {key: value for key, value in optional.items() if value is not None}
        lines.append(json.dumps(record, sort_keys=True, ensure_ascii=True) + "\n")
    (folder / ROWS).write_text("".join(lines), encoding="utf-8")
    return Data.seal(folder, format=FORMAT, task=TASK, meta={"count": len(rows)})


def load_prompts(data: Data) -> list[PromptRow]:
    """The rows in order. Raises ArtifactError if the data are no prompts, or a row is broken.

    >>> Path("other").mkdir()
    >>> _ = Path("other/rows.jsonl").write_text('{"prompt": "a photo"}')
    >>> load_prompts(Data.seal(Path("other"), format="prompts", task=TASK))
    Traceback (most recent call last):
        ...
    bdm_core.errors.ArtifactError: line 1 of other/rows.jsonl is no prompt: ...
    """
    if data.format != FORMAT:
        raise ArtifactError(f"{data.path} has the format {data.format!r}, expected {FORMAT!r}")
    rows = []
    path = data.file(ROWS)
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        if not line:
            continue
        try:
            rows.append(PromptRow(**json.loads(line)))
        except (ValueError, TypeError) as error:
            raise ArtifactError(f"line {number} of {path} is no prompt: {error}") from None
    return rows
