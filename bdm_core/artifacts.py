"""What the hooks exchange: sealed folders and JSON records, never tensors.

An artifact is a folder that the ecosystem's own tool could have written (a ``save_pretrained`` tree, PNG files with
``rows.jsonl``, safetensors) plus ``manifest.json``, which names every file with its SHA-256. *Sealing* writes the
manifest; *opening* reads it and checks every file against it.
"""

from __future__ import annotations

import hashlib
import json
import typing
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator

from bdm_core.errors import ArtifactError
from bdm_core.files import (
    MANIFEST,
    canonical_json,
    check_relative,
    existing,
    list_files,
    parse_json,
    read_json,
    sha256_of,
)

ROWS = "rows.jsonl"
"""Describes the rows of data or outputs: one JSON object a line, in order."""
Role = Literal["clean", "poison", "cover", "negative"]
"""What a training row is: unchanged; with trigger and the attack's label or target; with the trigger and its true
label; with another trigger and its true label."""


class Record(BaseModel):
    """A frozen, strict pydantic model: the base of everything that is written as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Artifact(Record):
    r"""A sealed folder.

    Attributes:
        schema_version: version of the manifest format.
        kind: which subclass wrote it.
        format: how the content is laid out, e.g. ``diffusers``, ``images``, ``noise``; the task's kit defines it.
        task: a task tag of the Hugging Face Hub, e.g. ``unconditional-image-generation``.
        path: where the folder is; not part of the manifest, and not part of the digest.
        files: relative POSIX path -> SHA-256 of each file.
        meta: further facts as JSON (shapes, value ranges, counts). A ``Model`` never names a plugin or a trigger here.

    >>> folder = Path("rows")
    >>> folder.mkdir()
    >>> _ = (folder / "rows.jsonl").write_text('{"label": 3}\n')
    >>> data = Data.seal(folder, format="points", task="image-classification", meta={"count": 1})
    >>> sorted(data.files), data.meta["count"], Data.open(folder).digest == data.digest
    (['rows.jsonl'], 1, True)
    >>> _ = (folder / "rows.jsonl").write_text('{"label": 4}\n')
    >>> Data.open(folder)
    Traceback (most recent call last):
        ...
    bdm_core.errors.ArtifactError: rows/rows.jsonl does not match the hash in its manifest.json: ...
    """

    kind_name: ClassVar[str] = "artifact"

    schema_version: Literal[1] = 1
    kind: str = ""
    format: str
    task: str
    path: Path = Field(exclude=True)
    files: dict[str, str] = Field(default_factory=dict)
    meta: dict[str, JsonValue] = Field(default_factory=dict)

    @field_validator("files")
    @classmethod
    def _files_stay_inside(cls, files: dict[str, str]) -> dict[str, str]:
        return {check_relative(name): digest for name, digest in files.items()}

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest, hence of the whole content: 64 hexadecimal digits."""
        return hashlib.sha256(canonical_json(self.model_dump(mode="json")).encode()).hexdigest()

    @classmethod
    def seal(cls, path: Path, *, format: str, task: str, meta: dict[str, JsonValue] | None = None) -> Self:
        """Hash every file below ``path``, write ``manifest.json`` and return the artifact.

        Raises:
            ArtifactError: the folder is missing or empty, or holds a link, a special file or a pickle; ``meta`` is not
                JSON (NaN and infinity are not).
        """
        files = {name: sha256_of(path / name) for name in list_files(path) if name != MANIFEST}
        if not files:
            raise ArtifactError(f"nothing to seal in {path}: the plugin wrote no file there")
        try:
            artifact = cls(kind=cls.kind_name, format=format, task=task, path=path, files=files, meta=meta or {})
            text = json.dumps(artifact.model_dump(mode="json"), indent=1, sort_keys=True, allow_nan=False) + "\n"
        except (ValidationError, ValueError) as error:
            raise ArtifactError(f"cannot seal {path}: {first_line(error)}") from None
        (path / MANIFEST).write_text(text, encoding="utf-8")
        return artifact

    @classmethod
    def open(cls, path: Path, *, verify: bool = True) -> Self:
        """Read a sealed folder and, unless ``verify`` is false, compare every file with its hash.

        Raises:
            ArtifactError: no manifest, wrong kind, a file that is missing, extra, changed, or outside the folder.
        """
        manifest = path / MANIFEST
        try:
            record = read_json(manifest)
            artifact = cls.model_validate({**record, "path": path})
        except FileNotFoundError:
            raise ArtifactError(
                f"{path} is no sealed artifact: it has no {MANIFEST}; give the folder that a stage sealed"
            ) from None
        except (ValidationError, ValueError, TypeError) as error:
            raise ArtifactError(f"{manifest} is not valid: {first_line(error)}") from None
        if artifact.kind != cls.kind_name:
            raise ArtifactError(f"{path} is a {artifact.kind}, not a {cls.kind_name}")
        if verify:
            artifact.verify()
        return artifact

    def verify(self) -> None:
        """Compare the folder with the manifest.

        Raises:
            ArtifactError: names the first file that is missing, extra or changed.
        """
        present = set(list_files(self.path)) - {MANIFEST}
        for name in sorted(present ^ set(self.files)):
            state = "is not in the manifest" if name in present else "is missing"
            raise ArtifactError(f"{self.path / name} {state}: the artifact was changed; delete it and run again")
        for name, digest in self.files.items():
            if sha256_of(self.path / name) != digest:
                raise ArtifactError(
                    f"{self.path / name} does not match the hash in its {MANIFEST}: "
                    "it was changed or damaged; delete the artifact's folder and run again"
                )

    def file(self, name: str) -> Path:
        """The path of one file of the artifact. Raises ArtifactError if the manifest does not name it."""
        if name not in self.files:
            raise ArtifactError(f"{self.path} has no file {name!r}; it has {', '.join(sorted(self.files)) or 'none'}")
        return self.path / name


class Data(Artifact):
    """Inputs: training images, poisoned images, initial noise, prompts. Rows are described by ``rows.jsonl`` if any."""

    kind_name: ClassVar[str] = "data"


class Model(Artifact):
    """A model in the ecosystem's own layout. It names no plugin and no trigger."""

    kind_name: ClassVar[str] = "model"


class Secret(Artifact):
    """What only the attacker and the evaluation know: trigger, target, the attack's parameters."""

    kind_name: ClassVar[str] = "secret"


class Outputs(Artifact):
    """What a model produced from given inputs: images or logits, in the inputs' order."""

    kind_name: ClassVar[str] = "outputs"


class Evidence(Artifact):
    """What a detector found: an inverted trigger, features, pictures. The report shows it."""

    kind_name: ClassVar[str] = "evidence"


def verify_if_sealed(reference: str | None) -> None:
    """Compare a local folder with its manifest, if it is a sealed artifact; anything else is the kit's to judge.

    Raises:
        ArtifactError: a file is missing, extra, changed, a link, or outside the folder; or the manifest is damaged.
    """
    folder = existing(reference)
    try:
        record = read_json(folder / MANIFEST) if folder else None
    except (OSError, ValueError):
        return  # no folder, or another program's manifest
    kinds = {cls.kind_name: cls for cls in (Data, Model, Secret, Outputs, Evidence)}
    if folder and isinstance(record, dict) and "schema_version" in record and str(record.get("kind")) in kinds:
        kinds[str(record["kind"])].open(folder)


def rows_of(artifact: Artifact) -> list[dict[str, Any]]:
    r"""The objects of ``rows.jsonl``, in order. Raises ArtifactError if there is no such file or it is damaged.

    >>> Path("rows").mkdir()
    >>> _ = Path("rows/rows.jsonl").write_text('{"label": 3}\n{"label": 5}\n')
    >>> rows_of(Data.seal(Path("rows"), format="points", task="image-classification"))
    [{'label': 3}, {'label': 5}]
    """
    path = artifact.file(ROWS)
    try:
        rows = [parse_json(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    except ValueError as error:
        raise ArtifactError(f"{path} is damaged: {error}") from None
    if not all(isinstance(row, dict) for row in rows):
        raise ArtifactError(f"{path} is damaged: a row is no JSON object")
    return rows


def roles_of(data: Data) -> list[Role]:
    r"""The ``role`` of each row of training data; a row without one is clean.

    Raises:
        ArtifactError: an unknown role, or no rows.

    >>> Path("rows").mkdir()
    >>> _ = Path("rows/rows.jsonl").write_text('{"role": "poison"}\n{}\n')
    >>> roles_of(Data.seal(Path("rows"), format="points", task="image-classification"))
    ['poison', 'clean']
    """
    roles = [row.get("role", "clean") for row in rows_of(data)]
    unknown = sorted({str(role) for role in roles} - set(typing.get_args(Role)))
    if unknown:
        raise ArtifactError(f"{data.path / ROWS}: no role {unknown[0]!r}; roles are {', '.join(typing.get_args(Role))}")
    return roles


def artifacts_in(value: Any) -> list[Artifact]:
    """Every artifact in a value: itself, or those within records and lists."""
    if isinstance(value, Artifact):
        return [value]
    if isinstance(value, Record):
        return [item for name in type(value).model_fields for item in artifacts_in(getattr(value, name))]
    if isinstance(value, list):
        return [item for part in value for item in artifacts_in(part)]
    return []


def first_line(error: Exception) -> str:
    """The first complaint of an error in one line."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        return f"{'.'.join(str(part) for part in first['loc']) or 'manifest'}: {first['msg']}"
    return " ".join(str(error).split()) or type(error).__name__
