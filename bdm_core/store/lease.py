"""A lease file: one process works on a stage, the others wait. It works on file systems without locks."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import socket
import stat
import threading
import time
from pathlib import Path
from typing import Any, Self

from bdm_core.files import parse_json

HEARTBEAT_SECONDS = 5.0
STALE_SECONDS = 60.0
"""A lease of another machine counts as abandoned when its file was not touched for this long."""
_SEEN: dict[Path, tuple[int, float]] = {}
"""Leases this process looked at: time of the last heartbeat, and since when (on its own clock) it has been that one."""


@functools.cache
def machine() -> str:
    """The process table this process is in: host name, boot and pid namespace; "" where the system does not tell."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{socket.gethostname()}/{boot}/{os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115
    except OSError:
        return ""


def _process_start(pid: int) -> str:
    """When a living process started, in clock ticks since boot, so that a reused process id is told apart.

    "" if there is no such process, or if it has ended and only its parent has not noticed (a zombie).
    """
    try:
        facts = Path(f"/proc/{int(pid)}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return "" if facts[0] in "ZX" else facts[19]
    except (OSError, IndexError):
        return ""


class Lease:
    """Hold ``path`` as this process's lease. ``acquire`` returns False while another live process holds it.

    Args:
        path: the lease file; its folder must exist.
        launcher: what started the holder; further ranks of a launch compare it, see :mod:`bdm_core.run.ranks`.
    """

    def __init__(self, path: Path, launcher: str = "") -> None:
        self.path = path
        self.launcher = launcher
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._mine = ""

    def acquire(self) -> bool:
        """Take the lease if nobody holds it, or if its holder is gone."""
        pid = os.getpid()
        record = {
            "pid": pid,
            "host": socket.gethostname(),
            "machine": machine(),
            "start": _process_start(pid),
            "launcher": self.launcher,
            "nonce": os.urandom(8).hex(),
        }
        self._mine = json.dumps(record)
        for _ in range(2):
            try:
                handle = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
            except FileExistsError:
                if not self._clear_abandoned():
                    return False
                continue
            try:
                with os.fdopen(handle, "w") as stream:
                    stream.write(self._mine)
            except OSError:  # a full disk
                self.path.unlink(missing_ok=True)
                raise
            self._sweep()
            self._thread = threading.Thread(target=self._beat, daemon=True)
            self._thread.start()
            return True
        return False

    def holder(self) -> dict[str, Any] | None:
        """Who holds the lease: pid, host, start, launcher, nonce; None if nobody does or the file is being written."""
        try:
            record = parse_json(_text(self.path))
        except (OSError, ValueError):
            return None
        return record if isinstance(record, dict) else None

    def held(self) -> bool:
        """Whether this object still holds the lease: after a long pause another process may have taken it over."""
        try:
            return bool(self._mine) and _text(self.path) == self._mine
        except OSError:
            return False

    def abandoned(self) -> bool:
        """Whether there is no lease, or its holder is gone."""
        try:
            return _gone(_text(self.path), self._age())
        except FileNotFoundError:
            return True

    def release(self) -> None:
        """Give the lease back."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        with contextlib.suppress(OSError):
            if self.held():
                self.path.unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.release()

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS) and self.held():
            with contextlib.suppress(OSError):
                os.utime(self.path)

    def _age(self) -> float:
        """Seconds since the last heartbeat, whatever the clocks of other machines say.

        The time of a heartbeat is the file system's. A lease that looks young, also one from the future, is as old as
        this process has seen it unchanged. Raises FileNotFoundError if there is no lease.
        """
        status = self.path.lstat()
        beat, since = _SEEN.get(self.path, (-1, 0.0))
        if beat != status.st_mtime_ns:
            since = time.monotonic()
            _SEEN[self.path] = (status.st_mtime_ns, since)
        return max(self._clock() - status.st_mtime, time.monotonic() - since)

    def _clock(self) -> float:
        """The time on the file system that holds the lease."""
        probe = self.path.with_name(f".clock.{os.getpid()}.{os.urandom(4).hex()}")
        try:
            probe.touch()
            return probe.stat().st_mtime
        except OSError:
            return time.time()
        finally:
            probe.unlink(missing_ok=True)

    def _clear_abandoned(self) -> bool:
        """Remove the lease of a process that is gone; True if the path may be free now."""
        try:
            text = _text(self.path)
            if not _gone(text, self._age()):
                return False
        except FileNotFoundError:
            return True
        grave = self.path.with_name(f"{self.path.name}.{os.urandom(4).hex()}")
        try:
            self.path.rename(grave)
        except FileNotFoundError:
            return True
        if _text(grave) != text:  # somebody else cleared it first and holds it now: put it back
            with contextlib.suppress(OSError):
                os.link(grave, self.path)
        grave.unlink()
        return True

    def _sweep(self) -> None:
        """Remove what a process left that was killed while it cleared this lease."""
        for grave in self.path.parent.glob(f"{self.path.name}.????????"):
            with contextlib.suppress(OSError):
                if time.time() - grave.stat().st_mtime > STALE_SECONDS:
                    grave.unlink()


def _text(path: Path) -> str:
    """What a lease says; "" of anything but a plain file, which no process of bdm made."""
    plain = stat.S_ISREG(path.lstat().st_mode)
    return path.read_text(encoding="utf-8", errors="replace") if plain else ""


def _gone(text: str, age: float) -> bool:
    """Whether the process that wrote a lease has ended.

    In the same process table that is certain; elsewhere the age of the last heartbeat in seconds decides.
    """
    try:
        record = parse_json(text)
        if machine() and record["machine"] == machine():
            return not record["start"] or _process_start(record["pid"]) != record["start"]
    except (ValueError, KeyError, TypeError, OverflowError):
        return age > HEARTBEAT_SECONDS  # half-written by a process that was killed
    return age > STALE_SECONDS
