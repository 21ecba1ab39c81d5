"""How a stage's inputs reach its hook: unchanged, for defenses under neutral paths, and watched for changes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from bdm_core.artifacts import Artifact, Record, artifacts_in
from bdm_core.errors import StageError
from bdm_core.files import MANIFEST, link_or_copy

State = dict[str, tuple[int, int]]


def hand_over_blind(inputs: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The same inputs, every artifact as a tree of hard links (or copies) in ``folder``, named like its argument.

    No path, resolved or not, tells which stage made an artifact.
    """
    return {name: _blind(value, folder / name) for name, value in inputs.items()}


def _blind(value: Any, place: Path) -> Any:
    if isinstance(value, Artifact):
        for name in (MANIFEST, *value.files):
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(value.path / name, place / name)
        return value.model_copy(update={"path": place})
    if isinstance(value, Record):
        fields = {name: getattr(value, name) for name in type(value).model_fields}
        return value.model_copy(update={name: _blind(item, place / name) for name, item in fields.items()})
    if isinstance(value, list):
        return [_blind(item, place / str(index)) for index, item in enumerate(value)]
    return value


class Watch:
    """Notices changes of a stage's inputs by the size and time of every file, without reading them again."""

    def __init__(self, inputs: dict[str, Any]) -> None:
        self._before = [
            (name, item.path, _state(item.path)) for name, value in inputs.items() for item in artifacts_in(value)
        ]

    def check(self, plugin: str) -> None:
        """Raises StageError, naming the plugin, if a file of an input is new, gone or changed."""
        for name, path, before in self._before:
            after = _state(path)
            changed = sorted(file for file in before.keys() | after.keys() if before.get(file) != after.get(file))
            if changed:
                raise StageError(
                    f"{plugin} changed its input {name!r} ({changed[0]}): a hook only reads its inputs and writes "
                    f"below ctx.out; delete {path} and its stage's folder, and mend the plugin"
                )


def _state(root: Path) -> State:
    found: State = {}
    for folder, _, files in os.walk(root):
        for name in files:
            path = os.path.join(folder, name)  # noqa: PTH118 - thousands of pictures
            status = os.lstat(path)
            found[path.removeprefix(f"{root}/")] = (status.st_size, status.st_mtime_ns)
    return found
