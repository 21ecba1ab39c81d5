"""The models that a run leaves behind: where they lie, what the folder of a run or of a stage stands for in a scan."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bdm_core.artifacts import Model
from bdm_core.errors import BdmError, UserError
from bdm_core.files import MANIFEST, existing
from bdm_core.store import paths
from bdm_core.store.stage_record import references_in

if TYPE_CHECKING:
    from bdm_results.view import RunView

LABELS = {"backdoored": "backdoored model", "repaired": "repaired model", "clean": "model"}
"""Row of the result table -> label of the stage that made its model."""
GENERIC = frozenset({"model", "models", "checkpoint", "pipeline", "output", "out", "unet"})
"""Folder names that say nothing of a model."""


@dataclass(frozen=True)
class Named:
    """A model as a user names it.

    Attributes:
        reference: what a kit opens: a folder, a built-in name, or a reference to the Hub.
        said: how to call it.
    """

    reference: str
    said: str


def models_of(view: RunView) -> dict[str, Path]:
    """Row of the result table -> folder of its model, as far as the store holds it; none is opened."""
    found = {}
    for row, label in LABELS.items():
        try:
            entry = view.stage(label) or {}
            record = view.store.read(str(entry.get("stage")), str(entry.get("key")))
        except BdmError:  # it was changed or damaged
            continue
        places = [item["at"] for item in references_in(record.result) if item["$artifact"] == "Model"] if record else []
        if places:
            found[row] = view.folder.parent / paths.STORE / str(places[0])
    return found


def can_be_scanned(view: RunView) -> bool:
    """Whether an installed defense judges models of the run's task."""
    from bdm_core.discovery.candidates import installed
    from bdm_core.hooks import implements

    for candidate in installed("defense", view.record.get("task")):
        try:
            defense = candidate.load() if candidate.allowed() else None
        except BdmError:
            continue
        if defense is not None and implements(defense, "detect") and getattr(defense, "level", "") == "model":
            return True
    return False


def model_in(reference: str, row: str | None = None) -> Named:
    """The model that a reference stands for: of a run's folder the backdoored one, of a stage's folder its own.

    Args:
        reference: what the user gave; anything that is no folder of a run or a stage is the model itself.
        row: of a run: ``backdoored``, ``repaired`` or ``clean``.

    Raises:
        UserError: the run or the stage left no such model, or a row is named of something else than a run.
    """
    folder = existing(reference)
    if folder is not None and (folder / paths.RUN_RECORD).is_file():
        return _of_run(reference, folder, row)
    if row is not None:
        raise UserError(f"--row {row}: {reference} is no folder of a run, hence has no rows")
    if folder is not None and (folder / paths.STAGE_RECORD).is_file():
        found = [path.parent for path in sorted(folder.glob(f"*/{MANIFEST}")) if _is_model(path)]
        if len(found) != 1:
            raise UserError(f"{reference} is the folder of a stage that left no model of its own")
        return Named(str(found[0]), f"{reference}, its model")
    return Named(reference, reference)


def _of_run(reference: str, folder: Path, row: str | None) -> Named:
    from bdm_results.view import RunView

    if row is not None and row not in LABELS:
        raise UserError(f"--row {row}: rows are {', '.join(LABELS)}")
    found = models_of(RunView(folder))
    chosen = row or next(iter(found), None)
    if chosen is None or chosen not in found:
        has = f"it has {', '.join(found)}" if found else "the store does not hold it any more"
        raise UserError(f"{reference} left no {f'{chosen} ' if chosen else ''}model behind; {has}")
    return Named(str(found[chosen]), f"{reference}, {chosen} model")


def short_name(reference: str) -> str:
    """A model's name for a table: the folder's name, unless that says nothing.

    >>> short_name("/home/me/my-ddpm"), short_name("/home/me/my-ddpm/unet"), short_name("digits-tiny")
    ('my-ddpm', 'my-ddpm/unet', 'digits-tiny')
    >>> short_name("runs/store/inject-backdoor/ab/abcdef0123456789/model")
    'inject-backdoor/abcdef01'
    """
    parts = Path(reference).parts
    if paths.STORE in parts[:-4]:
        stage, _, key = parts[len(parts) - parts[::-1].index(paths.STORE) :][:3]
        return f"{stage}/{key[:8]}"
    return "/".join(parts[-2:] if parts and parts[-1] in GENERIC else parts[-1:])


def _is_model(manifest: Path) -> bool:
    try:
        return bool(json.loads(manifest.read_text(encoding="utf-8")).get("kind") == Model.kind_name)
    except (OSError, ValueError, AttributeError, RecursionError):
        return False
