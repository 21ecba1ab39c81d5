"""What a reference to data stands for, found before anything is read. Light: no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bdm_core.artifacts import Model
from bdm_core.errors import UserError
from bdm_core.files import MANIFEST, existing
from bdm_kit_classification.tasks.base import Task
from bdm_kit_classification.tasks.registry import TASKS, task_of
from bdm_torch.references import HubReference, parse_hub_reference, suggest

DATASET_FILES = ("dataset_info.json", "dataset_dict.json")
"""What ``save_to_disk`` of the library datasets leaves in a folder."""


@dataclass(frozen=True)
class Source:
    """Where data come from.

    Attributes:
        kind: ``built-in``; ``sealed``: an artifact; ``datasets``: a folder of the library datasets; ``hub``: a data set
            of the Hub; or what :meth:`bdm_kit_classification.tasks.base.Task.kind_of` says of a local path.
        name: as it was given, or the built-in name.
        folder: the local folder or file, if it is one.
        hub: the data set of the Hub, if it is one.
    """

    kind: str
    name: str
    folder: Path | None = None
    hub: HubReference | None = None


def find_data(reference: str | None, model: Model) -> Source:
    """What a reference stands for; None is the data that the model was trained on.

    Raises:
        UserError: there are no such data; or none were named, and the model does not say which it was trained on.
    """
    name = reference or str(model.meta.get("trained_on") or "")
    if not name:
        raise UserError("the model does not say which data it was trained on: name them with --data")
    task = task_of(model.task)
    source = find_source(name, task)
    if source.kind == "built-in":
        task.check_built_in(name, model)
    return source


def find_source(name: str, task: Task) -> Source:
    """What the name of some data stands for, whichever model they are for. Raises UserError if there are none."""
    if name in task.data:
        return Source("built-in", name)
    for other in TASKS.values():
        if name in other.data:
            raise UserError(
                f"{name} is data for {other.tag}, not for {task.tag}: name other data, or --task {other.tag}"
            )
    if (hub := parse_hub_reference(name)) is not None:
        return Source("hub", name, hub=hub)
    path = existing(name)
    if path is None:
        raise UserError(f"no data {name!r}: {suggest(name, [item.name for item in task.data_sets])}")
    if path.is_dir() and (path / MANIFEST).is_file():
        return Source("sealed", name, path)
    if path.is_dir() and any((path / file).is_file() for file in DATASET_FILES):
        return Source("datasets", name, path)
    return Source(task.kind_of(path), name, path)
