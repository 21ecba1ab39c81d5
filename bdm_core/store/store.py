"""The content-addressed store: one folder for each finished stage, published by an atomic rename.

Layout below the output folder::

    store/STAGE/ab/abcd.../{stage.json, model/ | data/ | outputs/ | evidence/}
    store/secrets/12/1234.../secret/         another branch, under another key: no path of a model leads to its secret
    store/.work/abcd.../{out/, work/, ...}   while the stage runs, with abcd....lease beside it
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from bdm_core.artifacts import Artifact, Data, Evidence, Model, Outputs, Record, Secret
from bdm_core.errors import ArtifactError, BdmError, StoreError
from bdm_core.files import check_relative, finite, list_files
from bdm_core.records import Backdoored, Detection, Measurement, Purified
from bdm_core.store import paths
from bdm_core.store.lease import Lease
from bdm_core.store.stage_record import StageRecord, references_in

_P = ParamSpec("_P")
_R = TypeVar("_R")
_ARTIFACTS: dict[str, type[Artifact]] = {cls.__name__: cls for cls in (Data, Model, Secret, Outputs, Evidence)}
_RECORDS: dict[str, type[Record]] = {cls.__name__: cls for cls in (Backdoored, Detection, Measurement, Purified)}


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
    return StoreError(f"cannot use the store{where}: {reason}; choose another folder with --out")


class Store:
    """All finished stages below one output folder, shared by every run there."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve() / paths.STORE
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

    def lease(self, key: str) -> Lease:
        """The lease of a stage."""
        return Lease(self.root / paths.WORK / f"{key}.lease")

    @report_disk_errors
    def read(self, stage: str, key: str) -> StageRecord | None:
        """The record of a finished stage; None if there is none, or if the folder of one of its artifacts is gone.

        Raises:
            ArtifactError: the record is damaged, or was changed since it was written.
        """
        folder = self.folder(stage, key)
        with contextlib.suppress(OSError):
            os.utime(folder / paths.STAGE_RECORD)  # so that `bdm store --prune` leaves it alone
        try:
            record = StageRecord.model_validate_json((folder / paths.STAGE_RECORD).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError:
            record = None
        if record is None or (record.stage, record.key) != (stage, key) or record.seal != record.sealed().seal:
            raise _damaged(folder)
        gone = [item for item in references_in(record.result) if not (self.root / str(item["at"])).exists()]
        return None if gone else record

    def result(self, record: StageRecord) -> Any:
        """What the stage returned; like :meth:`decode`, with an error that names the stage's folder."""
        try:
            return self.decode(record.result)
        except BdmError:
            raise
        except (LookupError, TypeError, ValueError, AttributeError):
            raise _damaged(self.folder(record.stage, record.key)) from None

    @report_disk_errors
    def publish(self, record: StageRecord, out: Path) -> StageRecord:
        """Move the artifacts of a finished ``out`` folder to their places, the secret first, and make them read-only.

        Anything else in ``out`` is dropped. If the stage was published meanwhile, that result stays.

        Returns:
            The record that is in the store now.
        """
        earlier = self.read(record.stage, record.key)
        if earlier is None:
            shutil.rmtree(self.folder(record.stage, record.key), ignore_errors=True)  # some of it may be left
            earlier = self._publish(record.sealed(), out)
        self.discard(record.key)
        return earlier

    def _publish(self, record: StageRecord, out: Path) -> StageRecord:
        final = out.with_name("final")
        shutil.rmtree(final, ignore_errors=True)
        final.mkdir()
        home, secrets = self.folder(record.stage, record.key), self.secret_folder(record.key)
        for place in sorted({item["at"] for item in references_in(record.result)}):
            path = self.root / place
            if path.is_relative_to(home):
                inside = path.relative_to(home)
                if (final / inside).exists():  # it lies within another artifact
                    continue
                (final / inside).parent.mkdir(parents=True, exist_ok=True)
                _read_only(out / inside)
                (out / inside).rename(final / inside)
            elif path.is_relative_to(secrets):
                _read_only(out / "secret")
                self._move(out / "secret", secrets / "secret")
        with (final / paths.STAGE_RECORD).open("w", encoding="utf-8") as stream:
            stream.write(record.model_dump_json(indent=1) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        try:
            self._move(final, home)
        except OSError:
            published = self.read(record.stage, record.key)
            if published is None:
                raise
            return published
        return record

    def discard(self, key: str) -> None:
        """Remove what is left of a finished stage's work, here and of further ranks."""
        shutil.rmtree(self.work_folder(key), ignore_errors=True)

    def tidy(self, key: str) -> None:
        """Remove what killed processes left of the work on a stage that is in the store by now."""
        for folder in [*(self.root / paths.WORK).glob(f"{key}*/")]:
            with contextlib.suppress(OSError), self.lease(folder.name) as lease:
                if lease.acquire():
                    self.discard(folder.name)

    def encode(self, value: Any, *, out: Path, stage: str, key: str, known: dict[str, str]) -> Any:
        """A hook's result as JSON. ``known`` maps digests of the stage's inputs to their places in the store.

        Raises:
            ArtifactError: a new artifact is not sealed as it lies there, or does not lie where it belongs.
        """
        if isinstance(value, Artifact):
            reference = known.get(value.digest) or self._future_place(value, out, stage, key)
            return {"$artifact": type(value).__name__, "at": reference, "digest": value.digest}
        if isinstance(value, Record):
            fields = {name: getattr(value, name) for name in type(value).model_fields}
            type(value)(**fields)  # a copy with changes, or a record made without checks, may be anything
            items = {
                name: self.encode(item, out=out, stage=stage, key=key, known=known) for name, item in fields.items()
            }
            return {"$record": type(value).__name__, "fields": items}
        if isinstance(value, list):
            return [self.encode(item, out=out, stage=stage, key=key, known=known) for item in value]
        return finite(value)

    def decode(self, value: Any) -> Any:
        """The inverse of :meth:`encode`; opens and verifies the artifacts (each once a process)."""
        if isinstance(value, list):
            return [self.decode(item) for item in value]
        if not isinstance(value, dict):
            return value
        if "$artifact" in value:
            path = self.root / check_relative(value["at"])
            artifact = _ARTIFACTS[value["$artifact"]].open(path, verify=path not in self._verified)
            if artifact.digest != value["digest"]:
                raise ArtifactError(f"{path} is not what its stage sealed: delete the folder {path} and run again")
            self._verified.add(path)
            return artifact
        fields = {name: self.decode(item) for name, item in value["fields"].items()}
        return _RECORDS[value["$record"]](**fields)

    def place_of(self, artifact: Artifact) -> str:
        """Where an artifact of the store lies, relative to the store's root."""
        return artifact.path.relative_to(self.root).as_posix()

    def secret_folder(self, key: str) -> Path:
        """Where a stage's secret lies; the folder's name cannot be told from the stage's key without trying."""
        other = hashlib.sha256(f"secret/{key}".encode()).hexdigest()
        return self.root / paths.SECRETS / other[:2] / other

    def _future_place(self, artifact: Artifact, out: Path, stage: str, key: str) -> str:
        path = artifact.path.resolve()
        try:
            inside = path.relative_to(out.resolve())
        except ValueError:
            raise ArtifactError(f"{path} lies outside the stage's folder: seal results below ctx.out") from None
        if not inside.parts:
            raise ArtifactError("ctx.out itself is sealed: seal a subfolder of it, e.g. ctx.out / 'model'")
        secret = isinstance(artifact, Secret)
        if secret is not (inside.parts == ("secret",)) or (not secret and inside.parts[0] == "secret"):
            raise ArtifactError(
                f"a {artifact.kind_name} is sealed in ctx.out / {inside.as_posix()!r}: "
                "a secret belongs into ctx.out / 'secret', and nothing else does"
            )
        if type(artifact).open(path).digest != artifact.digest:
            raise ArtifactError(f"the {artifact.kind_name} in ctx.out / {inside.as_posix()!r} was sealed differently")
        place = self.secret_folder(key) / inside if secret else self.folder(stage, key) / inside
        self._verified.add(place)
        return place.relative_to(self.root).as_posix()

    @staticmethod
    def _move(source: Path, destination: Path) -> None:
        destination.parent.mkdir(parents=True, exist_ok=True)
        if destination.exists() and not (destination / paths.STAGE_RECORD).exists():
            shutil.rmtree(destination)  # left by a process that was killed between two moves
        source.rename(destination)


def _damaged(folder: Path) -> ArtifactError:
    return ArtifactError(f"{folder / paths.STAGE_RECORD} is damaged: delete the folder {folder} and run again")


def _read_only(folder: Path) -> None:
    for name in list_files(folder):
        (folder / name).chmod(0o444)
