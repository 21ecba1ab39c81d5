"""What decides a stage's result, and hence its key in the store."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bdm_core.discovery.origin import source_digest
from bdm_core.files import parameters_by_content
from bdm_core.machine.environment import versions
from bdm_core.machine.redaction import without_credentials
from bdm_core.store.stage_record import input_digests

if TYPE_CHECKING:
    from bdm_core.run.preparation import Loaded


def stage_payload(stage: str, plugins: list[Loaded], inputs: dict[str, Any], **facts: Any) -> dict[str, Any]:
    """Everything that decides a stage's result, as JSON; its hash is the stage's key.

    Args:
        stage: the stage's name.
        plugins: who takes part, the task's kit included. Their code counts, and that of the bdm libraries they require;
            of other libraries the versions do.
        inputs: the hook's arguments; artifacts count by digest.
        facts: ``seed``, ``device`` and whatever else decides.
    """
    parts = {item.id: item for item in plugins}
    return {
        "stage": stage,
        "core": core_digest(),
        "plugins": {key: item.origin for key, item in parts.items()},
        "libraries": {name: digest for item in parts.values() for name, digest in item.libraries.items()},
        "params": {key: _params(item, stage) for key, item in parts.items()},
        "inputs": without_credentials({name: input_digests(value) for name, value in inputs.items()}),
        "versions": versions({name for item in parts.values() for name in item.foreign}),
        **facts,
    }


@functools.cache
def core_digest() -> str:
    """SHA-256 over the source of bdm_core, without its tests for plugins."""
    root = Path(__file__).parent.parent
    return source_digest([root], leave_out=[root / "testing"])


def _params(item: Loaded, stage: str) -> Any:
    return without_credentials(parameters_by_content(item.params.for_stage(stage).model_dump(mode="json")))
