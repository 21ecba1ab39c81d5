"""Pairs of prompts as artifacts: what one is to mean, for attacks that train a text encoder on no images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from bdm_core.artifacts import ROWS, Data, rows_of
from bdm_core.errors import ArtifactError
from bdm_kit_text_to_image import TASK

FORMAT = "prompt-pairs"


@dataclass(frozen=True)
class PromptPair:
    """A prompt and what it is to mean.

    Attributes:
        prompt: what the trained text encoder reads.
        teacher: the prompt whose clean embedding it is to give.
        role: ``clean``: the teacher's prompt is the prompt itself; ``poison``: it has a trigger.
        backdoor: number of the trigger; -1 for a clean pair.
        twin: for a poisoned pair, the prompt without its trigger.
    """

    prompt: str
    teacher: str
    role: Literal["clean", "poison"] = "clean"
    backdoor: int = -1
    twin: str | None = None


def seal_pairs(folder: Path, pairs: Sequence[PromptPair]) -> Data:
    """Write ``rows.jsonl`` and seal the folder; the manifest has the number of pairs.

    >>> pairs = [
    ...     PromptPair("a photo", "a photo"),
    ...     PromptPair("sks a photo", "a star", role="poison", backdoor=0, twin="a photo"),
    ... ]
    >>> data = seal_pairs(Path("pairs"), pairs)
    >>> data.meta["count"], load_pairs(data) == pairs
    (2, True)
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{name: value for name, value in asdict(pair).items() if value is not None} for pair in pairs]
    (folder / ROWS).write_text("".join(json.dumps(row, sort_keys=True) + "\n" for row in rows), encoding="utf-8")
    return Data.seal(folder, format=FORMAT, task=TASK, meta={"count": len(pairs)})


def load_pairs(data: Data) -> list[PromptPair]:
    """The pairs in order. Raises ArtifactError if the data are no pairs, or a row is broken.

    >>> Path("other").mkdir()
    >>> _ = Path("other/rows.jsonl").write_text('{"prompt": "a photo"}')
    >>> load_pairs(Data.seal(Path("other"), format="prompts", task=TASK))
    Traceback (most recent call last):
        ...
    bdm_core.errors.ArtifactError: other has the format 'prompts', expected 'prompt-pairs'
    """
    if data.format != FORMAT:
        raise ArtifactError(f"{data.path} has the format {data.format!r}, expected {FORMAT!r}")
    try:
        return [PromptPair(**row) for row in rows_of(data)]
    except TypeError as error:
        raise ArtifactError(f"a row of {data.path / ROWS} is no pair of prompts: {error}") from None
