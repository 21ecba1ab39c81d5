"""The content-addressed store: one folder for each finished stage, published by an atomic rename.

Layout below the output folder::

    store/STAGE/ab/abcd.../{stage.json, model/ | data/ | outputs/ | evidence/}
    store/secrets/ab/abcd.../secret/         another branch: no path of a model leads to its secret
    store/.work/abcd.../{out/, work/, lease} while the stage runs
"""

from __future__ import annotations

import errno
import functools
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from bdm_core import artifacts, paths
from bdm_core.artifacts import Artifact, Record, canonical_json
from bdm_core.errors import ArtifactError, StoreError
from bdm_core.lease import Lease

FORMAT_SALT: Final = 1
"""Raise it when the meaning of stored stages changes: old ones are then not found any more."""

_P = ParamSpec("_P")
_R = TypeVar("_R")
_ARTIFACTS: dict[str, type[Artifact]] = {
    cls.__name__: cls
    for cls in (artifacts.Data, artifacts.Model, artifacts.Secret, artifacts.Outputs, artifacts.Evidence)
}
_RECORDS: dict[str, type[Record]] = {
    cls.__name__: cls for cls in (artifacts.Backdoored, artifacts.Detection, artifacts.Measurement)
}


class StageRecord(BaseModel):
    """``stage.json``: what was computed, from what, at what cost.

    Attributes:
        stage: the stage's name.
        key: SHA-256 of ``payload``.
        payload: everything that decides the result: plugins with origin, parameters, input digests, seed, versions.
        result: the hook's return value with artifacts as references into the store.
        seconds: wall time.
        peak_memory_bytes: highest resident memory of the process during the stage.
        figures: what the plugin kept beside its artifacts, e.g. loss curves.
        warnings: what the plugin warned of; repeated when the stage comes from the store.
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


def stage_key(payload: dict[str, Any]) -> str:
    """The key of a stage: SHA-256 of its payload as canonical JSON, 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json({"salt": FORMAT_SALT, **payload}).encode()).hexdigest()


def report_disk_errors(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Turn a full disk, a missing permission and the like into one clear line."""

    @functools.wraps(function)
    def wrapped(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return function(*args, **kwargs)
        except OSError as error:
            raise disk_error(error) from error

    return wrapped


def disk_error(error: OSError) -> StoreError:
    """One line for an operating-system error while writing."""
    where = f" at {error.filename}" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreError(f"the disk is full{where}: free some space and give the same command again; it continues")
    reason = error.strerror or str(error)
    return StoreError(f"cannot write to the store{where}: {reason}; choose another folder with --out")


class Store:
    """All finished stages below one output folder, shared by every run there."""

    def __init__(self, root: Path) -> None:
        self.root = root / paths.STORE
        self._verified: set[Path] = set()

    @report_disk_errors
    def prepare(self) -> None:
        """Make the folders. Raises StoreError if that is impossible."""
        (self.root / paths.WORK).mkdir(parents=True, exist_ok=True)

    def folder(self, stage: str, key: str) -> Path:
        """Where a finished stage lies."""
        return self.root / stage / key[:2] / key

    def work_folder(self, key: str) -> Path:
        """Where an unfinished stage works; survives a killed process."""
        return self.root / paths.WORK / key

    def lease(self, key: str, group: str = "") -> Lease:
        """The lease of a stage."""
        return Lease(self.root / paths.WORK / f"{key}.lease", group)

    def read(self, stage: str, key: str) -> StageRecord | None:
        """The record of a finished stage, or None. Raises ArtifactError if the record is damaged."""
        path = self.folder(stage, key) / paths.STAGE_RECORD
        try:
            return StageRecord.model_validate_json(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (ValidationError, ValueError):
            raise ArtifactError(f"{path} is damaged: delete its folder and run again") from None

    @report_disk_errors
    def publish(self, record: StageRecord, out: Path) -> None:
        """Move a finished ``out`` folder to its place. The secret goes first, to its own branch."""
        secret = out / "secret"
        if secret.is_dir():
            self._move(secret, self.root / paths.SECRETS / record.key[:2] / record.key / "secret")
        text = record.model_dump_json(indent=1)
        with (out / paths.STAGE_RECORD).open("w", encoding="utf-8") as stream:
            stream.write(text + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        self._move(out, self.folder(record.stage, record.key))
        shutil.rmtree(self.work_folder(record.key), ignore_errors=True)

    def encode(self, value: Any, *, out: Path, stage: str, key: str, known: dict[str, str]) -> Any:
        """A hook's result as JSON. ``known`` maps digests of the stage's inputs to their places in the store."""
        if isinstance(value, Artifact):
            reference = known.get(value.digest) or self._future_place(value.path, out, stage, key)
            return {"$artifact": type(value).__name__, "at": reference, "digest": value.digest}
        if isinstance(value, Record):
            fields = {name: getattr(value, name) for name in type(value).model_fields}
            items = {
                name: self.encode(item, out=out, stage=stage, key=key, known=known) for name, item in fields.items()
            }
            return {"$record": type(value).__name__, "fields": items}
        if isinstance(value, list):
            return [self.encode(item, out=out, stage=stage, key=key, known=known) for item in value]
        return value

    def decode(self, value: Any) -> Any:
        """The inverse of :meth:`encode`; opens and verifies the artifacts (each once a process)."""
        if isinstance(value, list):
            return [self.decode(item) for item in value]
        if not isinstance(value, dict):
            return value
        if "$artifact" in value:
            path = self.root / value["at"]
            artifact = _ARTIFACTS[value["$artifact"]].open(path, verify=path not in self._verified)
            if artifact.digest != value["digest"]:
                raise ArtifactError(f"{path} is not what its stage sealed: delete the stage's folder and run again")
            self._verified.add(path)
            return artifact
        fields = {name: self.decode(item) for name, item in value["fields"].items()}
        return _RECORDS[value["$record"]](**fields)

    def place_of(self, artifact: Artifact) -> str:
        """Where an artifact of the store lies, relative to the store's root."""
        return artifact.path.relative_to(self.root).as_posix()

    def _future_place(self, path: Path, out: Path, stage: str, key: str) -> str:
        try:
            inside = path.relative_to(out)
        except ValueError:
            raise ArtifactError(f"{path} lies outside the stage's folder: seal results below ctx.out") from None
        base = self.folder(stage, key) if inside.parts[0] != "secret" else self.root / paths.SECRETS / key[:2] / key
        return (base / inside).relative_to(self.root).as_posix()

    @staticmethod
    def _move(source: Path, destination: Path) -> None:
        destination.parent.mkdir(parents=True, exist_ok=True)
        if destination.exists():  # left by a process that was killed between two moves
            shutil.rmtree(destination)
        source.rename(destination)


def input_digests(value: Any) -> Any:
    """What of a stage's input goes into its key: artifacts by digest, records field by field."""
    if isinstance(value, Artifact):
        return value.digest
    if isinstance(value, Record):
        return {name: input_digests(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, list):
        return [input_digests(item) for item in value]
    return json.loads(json.dumps(value))
