"""Files and JSON: hashes, canonical text, what an artifact's folder may hold, and what a local path stands for."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from pathlib import Path, PurePosixPath
from typing import Any

from bdm_core.errors import ArtifactError, UserError

MANIFEST = "manifest.json"
PICKLE_SUFFIXES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".npy", ".npz", ".h5"})
"""Suffixes of formats that can, or usually do, carry pickled Python objects. No artifact may contain them."""
_PICKLES = tuple(PICKLE_SUFFIXES)
LONGEST_NUMBER = 1000
"""Bits of a whole number."""


def read_json(path: Path) -> Any:
    """What a JSON file holds. Raises OSError, and ValueError for all but JSON in a plain file: a pipe never ends."""
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is no plain file")
    return parse_json(path.read_text(encoding="utf-8"))


def parse_json(text: str | bytes) -> Any:
    """What a JSON text holds. Raises ValueError, also if it is nested too deeply to be read."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as handle:
        while block := handle.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no white space: equal values give equal text. Raises ValueError for NaN, infinity."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def as_unicode(text: str) -> str:
    """A text without lone surrogates, which stand for the odd bytes of a file's name: ``\\udc80`` is spelled out."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def finite(value: Any) -> Any:
    """A copy of JSON-like data that JSON can hold: NaN and infinity become None, see also :func:`as_unicode`."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int):  # a longer one is no float, which is what other programs read
        return value if value.bit_length() < LONGEST_NUMBER else None
    if isinstance(value, str):
        return as_unicode(value)
    if isinstance(value, dict):
        return {finite(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def all_finite(value: Any) -> bool:
    """Whether JSON-like data holds neither NaN nor infinity."""
    if isinstance(value, dict):
        return all(all_finite(item) for item in value.values())
    if isinstance(value, list | tuple):
        return all(all_finite(item) for item in value)
    return not isinstance(value, float) or math.isfinite(value)


def check_relative(name: str) -> str:
    """``name`` if it is a relative POSIX path without ``..``. Raises ValueError otherwise."""
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or "\\" in name or "\x00" in name or ".." in parts or ":" in parts[0]:
        raise ValueError(f"file name {name!r} leaves the artifact")
    return name


def list_files(root: Path, *, links: bool = False) -> list[str]:
    """Relative POSIX paths of all files below a folder, sorted.

    Args:
        root: the folder.
        links: True for a foreign folder (a hub's cache is made of links); False for an artifact, which has none and
            no pickles.

    Raises:
        ArtifactError: no folder, or one that cannot be read; or a link, a special file or a pickle in an artifact.
    """
    if not root.is_dir():
        raise ArtifactError(f"{root} is no folder")
    names: list[str] = []
    folders = [""]
    for folder in folders:
        for entry in _entries(root / folder):
            name = folder + entry.name
            if as_unicode(name) != name:
                raise ArtifactError(f"{root / name} has a name that is no Unicode text: rename the file")
            if entry.is_symlink() and not links:
                raise ArtifactError(f"{root / name} is a link: an artifact holds plain files only")
            if entry.is_dir():
                folders += [] if entry.is_symlink() else [f"{name}/"]
                continue
            if not entry.is_file():
                raise ArtifactError(f"{root / name} is not a plain file")
            if name.lower().endswith(_PICKLES) and not links:
                raise ArtifactError(
                    f"{root / name} may hold pickled code: artifacts are safetensors and JSON; "
                    "convert a foreign checkpoint with `bdm import`"
                )
            names.append(name)
    return sorted(names)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return list(found)
    except OSError as error:
        raise ArtifactError(f"{error.filename} cannot be read: {error.strerror or error}") from error


def existing(text: str | Path | None) -> Path | None:
    """The file or folder that a text of the user's names, ``~`` expanded; None if there is none.

    A text that is too long for a path, or that cannot be one, names none.

    >>> existing("nowhere.png"), existing("x" * 300 + ".png"), existing("")
    (None, None, None)
    """
    try:
        path = Path(text or "").expanduser()
        return path if text and path.exists() else None
    except (OSError, ValueError, RuntimeError):  # e.g. a name of 300 letters, or ~ of an unknown user
        return None


def content_of(reference: str | None) -> str | None:
    """What a reference stands for in a stage's key: a local file or folder by its content, anything else by name.

    Of a folder counts what :func:`walk` finds.

    Raises:
        UserError: something below the folder cannot be read, or a link leads nowhere or upwards.
    """
    path = existing(reference)
    if path is None:
        return reference
    try:
        if path.is_file():
            return f"sha256:{sha256_of(path)}"
        listing = {file.relative_to(path).as_posix(): sha256_of(file) for file in walk(path)}
    except OSError as error:
        raise _cannot_read(error, path) from None
    return f"sha256:{hashlib.sha256(canonical_json(listing).encode()).hexdigest()}"


def walk(root: Path) -> list[Path]:
    """The plain files below a folder of a stranger's, sorted: the one rule of what such a folder holds.

    Names that start with a dot and ``__MACOSX`` are left out, with all that is below them. Links are followed, also to
    folders, each folder once: of two ways to it the first in the order of names counts.

    Raises:
        UserError: a folder cannot be read, or a link leads nowhere, or to a folder around ``root``.
    """
    found: list[Path] = []
    seen: set[tuple[int, int]] = set()
    around = root.resolve().parents
    try:
        for name, subfolders, files in os.walk(root, onerror=_raise, followlinks=True):
            folder = Path(name)
            status = folder.stat()
            if (status.st_dev, status.st_ino) in seen:
                subfolders.clear()
                continue
            seen.add((status.st_dev, status.st_ino))
            if folder.resolve() in around:
                raise UserError(f"{folder} is a link to a folder that {root} lies in: remove it")
            subfolders[:] = sorted(filter(counts, subfolders))
            for path in (folder / file for file in files if counts(file)):
                if path.is_file():
                    found.append(path)
                elif path.is_symlink() and not path.exists():
                    raise UserError(f"{path} is a link that leads nowhere: repair or remove it")
    except OSError as error:
        raise _cannot_read(error, root) from None
    return sorted(found)


def counts(name: str) -> bool:
    """Whether a file or folder of this name belongs to a stranger's folder, see :func:`walk`."""
    return not name.startswith(".") and name != "__MACOSX"


def parameters_by_content(value: Any) -> Any:
    """Parameters as they count in a stage's key: the path of a file or folder is replaced by a hash of its content.

    ``cache`` names a place whose content decides nothing, and counts by name.

    A string is taken for a path only if it has a separator or a suffix, so that a file which happens to be called like
    a built-in name changes nothing.
    """
    if isinstance(value, dict):
        return {key: item if key == "cache" else parameters_by_content(item) for key, item in value.items()}
    if isinstance(value, list):
        return [parameters_by_content(item) for item in value]
    if isinstance(value, str) and ("/" in value or os.sep in value or Path(value).suffix):
        path = existing(value)
        return content_of(value) if path is not None and path.name and (path.is_file() or path.is_dir()) else value
    return value


def link_or_copy(source: Path, target: Path) -> None:
    """Make ``target`` a hard link to a file, or a read-only copy where there are no links."""
    try:
        os.link(source, target)
    except OSError:  # another device, or a file system without hard links
        shutil.copyfile(source, target)
        target.chmod(0o444)


def _cannot_read(error: OSError, path: Path) -> UserError:
    return UserError(f"cannot read {error.filename or path}: {error.strerror or error}")


def _raise(error: OSError) -> None:
    raise error
