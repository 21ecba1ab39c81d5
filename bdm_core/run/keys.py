"""What decides a stage's result, and hence its key in the store."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from bdm_core.discovery.origin import source_digest
from bdm_core.files import parameters_by_content
from bdm_core.machine.environment import NUMERICAL, versions
from bdm_core.machine.redaction import without_credentials
from bdm_core.run.preparation import Loaded
from bdm_core.store.store import input_digests


def stage_payload(
    stage: str, plugins: list[Loaded], kit: Loaded | None, inputs: dict[str, Any], *, seed: int, device: str, ranks: int
) -> dict[str, Any]:
    """Everything that decides a stage's result, as JSON; its hash is the stage's key.

    Args:
        stage: the stage's name.
        plugins: who takes part.
        kit: the task's kit, which always does.
        inputs: the hook's arguments; artifacts count by digest.
        seed: the stage's seed.
        device: ``cuda:1`` counts as ``cuda``.
        ranks: how many processes compute it together.
    """
    parts = {item.id: item for item in [*plugins, *([kit] if kit else [])]}
    payload: dict[str, Any] = {
        "stage": stage,
        "core": core_digest(),
        "plugins": {key: item.origin for key, item in parts.items()},
        "params": {key: _params(item, stage) for key, item in parts.items()},
        "inputs": {name: input_digests(value) for name, value in inputs.items()},
        "seed": seed,
        "device": device.partition(":")[0],
        "versions": versions(NUMERICAL),
    }
    return payload | ({"ranks": ranks} if ranks > 1 else {})


@functools.cache
def core_digest() -> str:
    """SHA-256 over the source of bdm_core, without its tests for plugins."""
    root = Path(__file__).parent
    return source_digest([root], leave_out=[root / "testing"])


def _params(item: Loaded, stage: str) -> Any:
    return without_credentials(parameters_by_content(item.params.for_stage(stage).model_dump(mode="json")))
