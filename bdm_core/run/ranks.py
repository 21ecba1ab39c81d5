"""The processes of one ``accelerate launch``: who leads, whether the leader still lives, which stage it asks them into.

Rank 0 holds a lease for the whole run. The others wait for its results in the store; if the leader is gone and a result
is missing they end with an error. Before a stage that is computed by all ranks together, rank 0 leaves an invitation.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Self

from bdm_core.errors import PluginError, StoreError, UserError
from bdm_core.store import paths
from bdm_core.store.lease import STALE_SECONDS, Lease
from bdm_core.store.store import Store, report_disk_errors

POLL_SECONDS = 0.2
START_SECONDS = 300.0
"""How long further ranks wait for rank 0 to begin."""
GRACE_SECONDS = 20.0
"""How long they wait if a rank 0 with their launcher has ended: one started by hand may be about to begin again."""
INVITATION = "ranks"
_LONE: ContextVar[str] = ContextVar("bdm_lone_hook", default="")
LOOPBACK = ("", "localhost", "127.0.0.1", "::1")


def rank() -> int:
    """The rank that the launcher gave to this process; 0 without a launcher.

    Raises:
        UserError: RANK or WORLD_SIZE is set by no launcher: not a number, or they contradict each other.
    """
    number, size = _number("RANK", 0), world_size()
    if number >= size:
        raise UserError(f"RANK is {number} and WORLD_SIZE {size}: unset RANK, or start bdm with accelerate launch")
    return number


def world_size() -> int:
    """How many processes the launcher started; 1 without a launcher."""
    return _number("WORLD_SIZE", 1)


def _number(name: str, without: int) -> int:
    text = os.environ.get(name, "").strip() or str(without)
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise UserError(f"the environment variable {name} is {text!r}, no number of a launcher: unset it")
    return int(text)


def group() -> str:
    """What the processes of one launch have in common and other launches have not; "" without a launcher."""
    if world_size() == 1 and rank() == 0:
        return ""
    address = os.environ.get("MASTER_ADDR", "")
    host = socket.gethostname() if address in LOOPBACK else address
    return f"{host}:{os.environ.get('MASTER_PORT', '')}:{os.environ.get('TORCHELASTIC_RUN_ID', '')}"


def _launcher() -> str:
    """The process that started this one, and which of its attempts this is: the same for all ranks of one machine."""
    return f"{socket.gethostname()}:{os.getppid()}:{os.environ.get('TORCHELASTIC_RESTART_COUNT', '')}"


@contextlib.contextmanager
def lone_hook(plugin: str, stage: str, alone: bool) -> Iterator[None]:
    """While this is open, a plugin's hook works; ``alone`` if further ranks of the launch, if any, stay outside."""
    token = _LONE.set(f"{plugin} trains in stage {stage!r}" if alone and world_size() > 1 else "")
    try:
        yield
    finally:
        _LONE.reset(token)


def require_all_ranks() -> None:
    """What uses collectives calls this first: in a hook that rank 0 works alone in, they would wait for ever.

    Raises:
        PluginError: the process is in such a hook, with further ranks outside.

    >>> require_all_ranks()
    """
    if _LONE.get():
        raise PluginError(
            f"{_LONE.get()}, which rank 0 works on alone: under accelerate launch only inject_backdoor and repair of a "
            "plugin that says distributed = True train on all ranks; mend the plugin, or run it in one process"
        )


class Launch:
    """This process among those of its launch. A context manager: rank 0 leads from entry to exit.

    Args:
        store: the store that all ranks share.
    """

    def __init__(self, store: Store) -> None:
        self.rank = rank()
        self.world = world_size()
        self.group = group()
        self._store = store
        self._began = time.monotonic()
        self._seen = False
        name = hashlib.sha256(self.group.encode()).hexdigest()[:16]
        self._lease = Lease(store.root / paths.WORK / f"launch-{name}.lease", _launcher())
        self._ended = store.root / paths.WORK / f"launch-{name}.ended"

    @report_disk_errors
    def __enter__(self) -> Self:
        if self.rank == 0 and self.group:
            while not self._lease.acquire():  # a launch that was killed on another machine looks alive for a while
                if time.monotonic() - self._began > 2 * STALE_SECONDS:
                    raise StoreError(f"another launch with the address {self.group} uses this store: choose a port")
                time.sleep(POLL_SECONDS)
            self._ended.unlink(missing_ok=True)
        elif self.rank > 0:
            self.leader_is_gone()
        return self

    def __exit__(self, *error: object) -> None:
        if self.rank == 0 and self.group:
            if error[0] is not None:
                with contextlib.suppress(OSError):  # without it a rank that begins only now waits START_SECONDS
                    self._ended.write_text(_launcher(), encoding="utf-8")
            self._lease.release()

    @contextlib.contextmanager
    def inviting(self, key: str) -> Iterator[None]:
        """Rank 0: while this is open, the others are asked into the hook of a stage, whose lease is held."""
        invitation = self._store.work_folder(key) / INVITATION
        invitation.write_text(self._nonce(), encoding="utf-8")
        try:
            yield
        finally:
            invitation.unlink(missing_ok=True)

    def invited(self, key: str) -> bool:
        """Further ranks: whether rank 0 of this launch is about to enter, or has entered, the hook of a stage."""
        try:
            text = (self._store.work_folder(key) / INVITATION).read_text(encoding="utf-8")
        except OSError:
            return False
        return bool(text) and text == self._nonce()

    def leader_is_gone(self) -> bool:
        """Further ranks: whether rank 0 has ended, or did not begin in time."""
        if not self._lease.abandoned():
            self._seen = True
            return False
        return self._seen or time.monotonic() - self._began > (GRACE_SECONDS if self._ended_unseen() else START_SECONDS)

    def _ended_unseen(self) -> bool:
        """Whether a rank 0 with this rank's launcher, on this machine, has failed or was killed before it was seen."""
        killed = (self._lease.holder() or {}).get("launcher")
        try:
            return _launcher() in (killed, self._ended.read_text(encoding="utf-8"))
        except OSError:
            return _launcher() == killed

    def copy_work(self, key: str, work: Path) -> None:
        """Further ranks: copy the checkpoints that rank 0 has at the moment to ``work``."""
        source = self._store.work_folder(key) / "work"
        for path in sorted(source.rglob("*")):
            target = work / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):  # a temporary file of rank 0, or rank 0 is done
                if path.is_file():
                    shutil.copyfile(path, target)

    def _nonce(self) -> str:
        return str((self._lease.holder() or {}).get("nonce", ""))
