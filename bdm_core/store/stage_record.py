"""What is written about a finished stage, and the key it is found by."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict, JsonValue

from bdm_core.artifacts import Artifact, Record
from bdm_core.files import canonical_json

FORMAT_SALT: Final = 2
"""Raise it when the meaning of stored stages changes: old ones are then not found any more."""


class StageRecord(BaseModel):
    """``stage.json``: what was computed, from what, at what cost.

    Attributes:
        stage: the stage's name.
        key: SHA-256 of ``payload``, see :func:`stage_key`.
        payload: everything that decides the result: plugins with origin, parameters, input digests, seed, versions.
        result: the hook's return value with artifacts as references into the store.
        seconds: wall time.
        peak_memory_bytes: highest resident memory of the process during the stage.
        figures: what the plugin kept beside its artifacts, e.g. loss curves.
        warnings: what the plugin warned of; repeated when the stage comes from the store.
        seal: SHA-256 over all the rest, so that a number that was changed afterwards is noticed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: str
    key: str
    payload: dict[str, JsonValue]
    result: JsonValue
    seconds: float
    peak_memory_bytes: int | None = None
    figures: dict[str, JsonValue] = {}
    warnings: list[str] = []
    seal: str = ""

    def sealed(self) -> Self:
        """This record with its ``seal``."""
        text = canonical_json(self.model_dump(mode="json", exclude={"seal"}))
        return self.model_copy(update={"seal": hashlib.sha256(text.encode()).hexdigest()})


def stage_key(payload: dict[str, Any]) -> str:
    """The key of a stage: SHA-256 of its payload as canonical JSON, 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json({"salt": FORMAT_SALT, **payload}).encode()).hexdigest()


def references_in(result: Any) -> Iterator[dict[str, Any]]:
    """The artifacts in a stored result: each with its class (``$artifact``), its place in the store and its digest."""
    if isinstance(result, dict) and "$artifact" in result:
        yield result
    elif isinstance(result, dict | list):
        for item in result.values() if isinstance(result, dict) else result:
            yield from references_in(item)


def input_digests(value: Any) -> Any:
    """What of a stage's input goes into its key: artifacts by digest, records field by field."""
    if isinstance(value, Artifact):
        return value.digest
    if isinstance(value, Record):
        return {name: input_digests(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, list):
        return [input_digests(item) for item in value]
    return json.loads(json.dumps(value))
