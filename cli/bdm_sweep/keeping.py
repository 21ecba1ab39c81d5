"""What a store holds, what runs and sweeps still reach of it, and how the rest is removed while others work.

A stage is reached if a run's ``stages.json`` names it, or a sweep that is not complete; or if a reached stage returned
an artifact of it. Whoever reads a stage touches its record first (:meth:`bdm_core.store.store.Store.read`). So removing
one is safe in this order: take its lease, see that its record was not touched for a while, move the folder away, look
at the record once more, and put the folder back if somebody touched it in between.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bdm_core.errors import UserError
from bdm_core.files import read_json
from bdm_core.store import paths
from bdm_core.store.stage_record import references_in
from bdm_core.store.store import Store, report_disk_errors
from bdm_results.earlier import EARLIER
from bdm_sweep.record import EVENTS, REACHED, SWEEP_RECORD, SWEEPS

GRACE_SECONDS = 3600.0
"""A stage that was read or written since is not removed: a run may have just found it."""


@dataclass
class Stage:
    """A stage in a store.

    Attributes:
        name: the stage's name.
        key: its key.
        folders: where it lies: its own folder, perhaps its secret's.
        places: where the artifacts lie that it returned, its own and others'.
        size: bytes of its folders.
        reached: whether a run or a sweep needs it.
    """

    name: str
    key: str
    folders: list[Path]
    places: list[str]
    size: int = 0
    reached: bool = False

    @property
    def record(self) -> Path:
        """Its ``stage.json``."""
        return self.folders[0] / paths.STAGE_RECORD


@dataclass
class Usage:
    """What a store holds.

    Attributes:
        root: the store.
        stages: every finished stage.
        unfinished: bytes of stages at work, or interrupted ones that a run may continue.
        damaged: folders of stages whose record cannot be read; nobody finds them.
        unreadable: files and folders of runs and sweeps that may name further stages, but cannot be read.
    """

    root: Path
    stages: list[Stage] = field(default_factory=list)
    unfinished: int = 0
    damaged: list[Path] = field(default_factory=list)
    unreadable: list[Path] = field(default_factory=list)

    def of(self, *, reached: bool) -> list[Stage]:
        """The stages that are reached, or that are not."""
        return [stage for stage in self.stages if stage.reached is reached]


def usage(out: Path) -> Usage:
    """What the store below ``out`` holds.

    Raises:
        UserError: there is no store.
    """
    root = Store(out).root
    if not root.is_dir():
        raise UserError(f"no store in {out}: give the folder that `bdm run --out` wrote to")
    found = Usage(root, unfinished=_size(root / paths.WORK))
    if not os.access(root, os.R_OK | os.X_OK):
        raise UserError(f"cannot read {root}: give yourself the permission")
    kinds = [kind for kind in _folders_in(root) if kind.name not in (paths.SECRETS, paths.WORK)]
    parts = (part for kind in kinds for part in _folders_in(kind) if len(part.name) == 2)
    for folder in (at for part in parts for at in _folders_in(part)):
        try:
            record = json.loads((folder / paths.STAGE_RECORD).read_text(encoding="utf-8"))
            places = [str(item["at"]) for item in references_in(record["result"])]
            stage = Stage(str(record["stage"]), str(record["key"]), [folder], places)
        except FileNotFoundError:
            continue  # another process removes it, or is about to publish it
        except (OSError, ValueError, LookupError, TypeError):
            found.damaged.append(folder)
            continue
        secret = Store(out).secret_folder(stage.key)
        stage.folders += [secret] if secret.is_dir() else []
        stage.size = sum(map(_size, stage.folders))
        found.stages.append(stage)
    _mark(found, set(reached_keys(out, found.unreadable)))
    return found


def _folders_in(folder: Path) -> list[Path]:
    """The folders in one, sorted; none if another process has just removed it."""
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir())
    except FileNotFoundError:
        return []


def reached_keys(out: Path, unreadable: list[Path]) -> Iterator[str]:
    """Keys of stages that a run names, or a sweep that is not complete; ``unreadable`` gets what may name more."""
    for folder in _folders(out, unreadable):
        if folder.name not in (paths.STORE, SWEEPS):
            entries = [
                entry for place in (folder, folder / EARLIER) for entry in _json(place / paths.STAGES, [], unreadable)
            ]
            yield from (str(entry.get("key")) for entry in entries if isinstance(entry, dict))
    for folder in _folders(out / SWEEPS, unreadable):
        if _json(folder / SWEEP_RECORD, {}, unreadable).get("status") == "complete":
            continue
        named = _json(folder / REACHED, [], unreadable)
        yield from map(str, named)
        with contextlib.suppress(OSError):
            for line in (folder / EVENTS).read_text(encoding="utf-8").splitlines():
                with contextlib.suppress(ValueError, TypeError, AttributeError):
                    event = json.loads(line)
                    yield from (str(event.get("key")), *(str(item[0]) for item in event.get("computed") or ()))


def _folders(place: Path, unreadable: list[Path]) -> list[Path]:
    """The folders in a folder, if there is one; ``unreadable`` gets those that cannot be looked into."""
    try:
        found = [path for path in sorted(place.iterdir()) if path.is_dir()]
    except FileNotFoundError:
        return []
    except OSError:
        unreadable.append(place)
        return []
    unreadable += [path for path in found if not os.access(path, os.R_OK | os.X_OK)]
    return [path for path in found if path not in unreadable]


def _mark(found: Usage, keys: set[str]) -> None:
    """Mark what is reached, also through artifacts that a reached stage only passed on."""
    by_place = {stage.folders[0].relative_to(found.root).as_posix(): stage for stage in found.stages}
    waiting = [stage for stage in found.stages if stage.key in keys]
    while waiting:
        stage = waiting.pop()
        if not stage.reached:
            stage.reached = True
            homes = ("/".join(place.split("/")[:3]) for place in stage.places)
            waiting += [by_place[home] for home in homes if home in by_place]


@report_disk_errors
def prune(found: Usage, out: Path, *, older_than: float = GRACE_SECONDS) -> list[Stage]:
    """Remove stages that nothing reaches, while others may work on the store.

    Args:
        found: from :func:`usage`.
        out: the folder of store and runs.
        older_than: seconds since a stage was read or written last.

    Returns:
        The stages that were removed.

    Raises:
        UserError: a run or a sweep cannot be read; it may need any of the stages.
    """
    if found.unreadable:
        path = found.unreadable[0]
        raise UserError(f"nothing is pruned: {path} cannot be read and may need stages: repair or delete it")
    store = Store(out)
    return [stage for stage in found.of(reached=False) if _remove(store, stage, older_than)]


def _remove(store: Store, stage: Stage, older_than: float) -> bool:
    with store.lease(stage.key) as lease:
        touched = _touched(stage.record)
        if touched is None or _now(store) - touched < older_than or not lease.acquire():
            return False
        grave = store.root / paths.WORK / f"pruned-{stage.key[:16]}-{os.urandom(4).hex()}"
        home = stage.folders[0]
        home.rename(grave)
        if _touched(grave / paths.STAGE_RECORD) != touched:  # somebody has found it in between
            with contextlib.suppress(OSError):
                grave.rename(home)
                return False
        for folder in [grave, *stage.folders[1:]]:
            shutil.rmtree(folder, ignore_errors=True)
        for folder in stage.folders:
            with contextlib.suppress(OSError):
                folder.parent.rmdir()
        return True


def _touched(path: Path) -> float | None:
    """When a file was touched last; opened first, since some file systems only then ask the server."""
    try:
        with path.open("rb") as stream:
            return os.fstat(stream.fileno()).st_mtime
    except OSError:
        return None


def _now(store: Store) -> float:
    """The time of the store's file system."""
    probe = store.root / paths.WORK / f".clock.prune.{os.getpid()}"
    try:
        probe.touch()
        return probe.stat().st_mtime
    except OSError:
        return time.time()
    finally:
        probe.unlink(missing_ok=True)


def _size(folder: Path) -> int:
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(Path(place, name)).st_size
    return total


def _json(path: Path, otherwise: Any, unreadable: list[Path]) -> Any:
    try:
        found = read_json(path)
    except FileNotFoundError:
        return otherwise
    except (OSError, ValueError):
        found = None
    if isinstance(found, type(otherwise)):
        return found
    unreadable.append(path)
    return otherwise


def total_size(stages: Iterable[Stage]) -> int:
    """Bytes of some stages."""
    return sum(stage.size for stage in stages)
