"""Watch what a hook does to the file system while it runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_EVENTS = frozenset({"open", "os.listdir", "os.scandir"})
_watchers: list[list[str]] = []
_state = {"installed": False}


def snapshot(root: Path, leave_out: list[Path]) -> dict[str, tuple[int, int]]:
    """Relative path -> (size, time of last change in ns) of every file below ``root``, without some folders."""
    found: dict[str, tuple[int, int]] = {}
    omitted = {str(path) for path in leave_out}
    for folder, subfolders, files in os.walk(root):
        subfolders[:] = [name for name in subfolders if str(Path(folder, name)) not in omitted]
        for name in files:
            path = Path(folder, name)
            status = path.lstat()
            found[path.relative_to(root).as_posix()] = (status.st_size, status.st_mtime_ns)
    return found


def differences(before: dict[str, tuple[int, int]], after: dict[str, tuple[int, int]]) -> list[str]:
    """Names of files that are new, gone or changed."""
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


@contextmanager
def watched() -> Iterator[list[str]]:
    """Collect the absolute paths of files and folders that Python code opens or lists within the block.

    It uses an audit hook (PEP 578), which cannot be removed again: it is installed at the first use and idles outside
    the block. Reads by compiled extensions go unseen.
    """
    if not _state["installed"]:
        sys.addaudithook(_audit)
        _state["installed"] = True
    seen: list[str] = []
    _watchers.append(seen)
    try:
        yield seen
    finally:
        _watchers.remove(seen)


@contextmanager
def unwatched() -> Iterator[None]:
    """Collect nothing within the block: what runs there is not the watched hook's doing."""
    held = list(_watchers)
    _watchers.clear()
    try:
        yield
    finally:
        _watchers.extend(held)


def outside(paths: list[str], root: Path, allowed: list[Path]) -> list[str]:
    """Those of ``paths`` that lie in ``root`` but in none of the ``allowed`` files and folders."""
    base = root.resolve()
    free = [item.resolve() for item in allowed]
    found = set()
    for text in paths:
        path = Path(text).resolve()
        if path.is_relative_to(base) and path.exists() and not any(path.is_relative_to(item) for item in free):
            found.add(path.relative_to(base).as_posix())
    return sorted(found)


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Make ``folder`` the current directory within the block."""
    old = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(old)


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watchers or event not in _EVENTS:
        return
    if not isinstance(arguments[0], str | bytes | os.PathLike):
        return
    path = os.path.abspath(os.fsdecode(arguments[0]))  # noqa: PTH100 - resolve() would open links within the hook
    for seen in _watchers:
        seen.append(path)
