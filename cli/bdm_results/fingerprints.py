"""Which runs a folder holds, and in which state: what an index is compared with before it is used."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from bdm_core.errors import UserError
from bdm_core.store import paths
from bdm_results.earlier import EARLIER

LARGEST = {paths.RUN_RECORD: 2**24, paths.RESULTS: 2**26, paths.STAGES: 2**28}
"""Bytes that these files of a run have at most; a folder with a larger one is left out."""


def fingerprints(folder: Path) -> dict[str, str]:
    """Every run folder's name with the state of its record and numbers: inode, size, time of the last change.

    A folder that cannot be looked into is among them, and one with numbers but without a record.

    Args:
        folder: what ``bdm run --out`` wrote to.

    Raises:
        UserError: the folder cannot be read.
    """
    found = {}
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if not entry.name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        error = error if isinstance(error, OSError) else OSError(str(error))
        raise UserError(f"cannot read {folder}: {error.strerror or error}") from None
    for name in names:
        for run in (name, f"{name}/{EARLIER}"):
            state = _fingerprint(f"{folder}/{run}/")
            if state:
                found[run] = state
    return found


def _fingerprint(place: str) -> str:
    """The state of one folder, "" if it is no run's. One that cannot be read is a run's: reading it says why."""
    try:
        record = _state(os.lstat(place + paths.RUN_RECORD))
    except (FileNotFoundError, NotADirectoryError):
        numbers = _state_of(place + paths.RESULTS)
        return "" if numbers == "-" else f"- {numbers}"
    except (OSError, ValueError) as error:
        return "" if place.endswith(f"/{EARLIER}/") else f"unreadable: {error}"
    return f"{record} {_state_of(place + paths.RESULTS)}"


def objection(folder: Path) -> str:
    """Why a run's files are not to be opened, or "": one is no plain file, or larger than any run makes it."""
    for name, largest in LARGEST.items():
        try:
            status = (folder / name).stat()
        except OSError:
            continue
        if not stat.S_ISREG(status.st_mode):
            return f"{folder} is damaged: {name} is no plain file"
        if status.st_size > largest:
            return f"{folder} is damaged: {name} has {status.st_size} bytes, more than any run writes"
    return ""


def _state_of(path: str) -> str:
    try:
        return _state(os.lstat(path))
    except (OSError, ValueError):
        return "-"


def _state(status: os.stat_result) -> str:
    return f"{status.st_ino}-{status.st_size}-{status.st_mtime_ns}"
