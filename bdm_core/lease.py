"""A lease file: one process works on a stage, the others wait. It works on file systems without locks."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

HEARTBEAT_SECONDS = 5.0
STALE_SECONDS = 60.0
"""A lease of another host counts as abandoned when its file was not touched for this long."""


def _process_start(pid: int) -> str:
    """When a process started (Linux: clock ticks since boot), so that a reused process id is told apart."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class Lease:
    """Hold ``path`` as this process's lease. ``acquire`` returns False while another live process holds it.

    Args:
        path: the lease file; its folder must exist.
        group: free text that other ranks of the same launch compare, see the runner.
    """

    def __init__(self, path: Path, group: str = "") -> None:
        self.path = path
        self.group = group
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._mine = ""

    def acquire(self) -> bool:
        """Take the lease if nobody holds it, or if its holder is gone."""
        pid = os.getpid()
        record = {"pid": pid, "host": socket.gethostname(), "start": _process_start(pid), "group": self.group,
                  "nonce": os.urandom(8).hex()}  # fmt: skip
        self._mine = json.dumps(record)
        for _ in range(2):
            try:
                handle = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
            except FileExistsError:
                if not self._clear_abandoned():
                    return False
                continue
            with os.fdopen(handle, "w") as stream:
                stream.write(self._mine)
            self._thread = threading.Thread(target=self._beat, daemon=True)
            self._thread.start()
            return True
        return False

    def holder(self) -> dict[str, Any] | None:
        """Who holds the lease: pid, host, start, group; None if nobody does or the file is being written."""
        try:
            record = json.loads(self.path.read_text())
        except (OSError, ValueError):
            return None
        return record if isinstance(record, dict) else None

    def release(self) -> None:
        """Give the lease back."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        with contextlib.suppress(OSError):
            if self.path.read_text() == self._mine:
                self.path.unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS):
            with contextlib.suppress(OSError):
                os.utime(self.path)

    def _clear_abandoned(self) -> bool:
        """Remove the lease of a process that is gone; True if the path may be free now."""
        try:
            text = self.path.read_text()
            age = time.time() - self.path.stat().st_mtime
        except FileNotFoundError:
            return True
        try:
            record = json.loads(text)
            here = record["host"] == socket.gethostname()
            gone = here and (not _alive(record["pid"]) or _process_start(record["pid"]) != record["start"])
        except (ValueError, KeyError, TypeError):
            gone = age > HEARTBEAT_SECONDS  # half-written by a process that was killed
            here = False
        if not gone and (here or age < STALE_SECONDS):
            return False
        grave = self.path.with_name(f"{self.path.name}.{os.urandom(4).hex()}")
        try:
            self.path.rename(grave)
        except FileNotFoundError:
            return True
        if grave.read_text() != text:  # somebody else cleared it first and holds it now: put it back
            with contextlib.suppress(OSError):
                os.link(grave, self.path)
        grave.unlink()
        return True
