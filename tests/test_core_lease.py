"""Leases: one holder at a time, and a holder that is gone does not block anybody."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bdm_core.store import lease as lease_module
from bdm_core.store.lease import Lease

HOLD = """
import sys, time
from pathlib import Path
from bdm_core.store.lease import Lease
lease = Lease(Path(sys.argv[1]))
print(lease.acquire(), flush=True)
time.sleep(60)
"""


def _write(path: Path, pid: int, machine: str, start: str = "") -> None:
    path.write_text(json.dumps({"pid": pid, "host": socket.gethostname(), "machine": machine, "start": start}))


def test_a_second_holder_waits_until_the_first_releases(tmp_path: Path) -> None:
    first, second = Lease(tmp_path / "lease"), Lease(tmp_path / "lease")
    assert first.acquire()
    assert not second.acquire()
    assert second.holder() is not None and second.holder()["pid"] == os.getpid()  # type: ignore[index]
    first.release()
    assert second.acquire()
    first.release()  # a lease that was lost is not released twice
    assert (tmp_path / "lease").exists()
    second.release()
    assert not (tmp_path / "lease").exists()


def test_the_lease_of_a_killed_process_is_taken_over_at_once(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdout.readline().strip() == "True"
    assert not Lease(path).acquire()
    holder.kill()
    holder.wait()
    mine = Lease(path)
    assert mine.acquire()
    mine.release()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("age", "taken"), [(0.0, False), (lease_module.STALE_SECONDS + 1, True)])
def test_a_lease_of_another_host_is_taken_over_only_when_its_heartbeat_stopped(
    tmp_path: Path, age: float, taken: bool
) -> None:
    path = tmp_path / "lease"
    _write(path, os.getpid(), f"not-{lease_module.machine()}")
    os.utime(path, (time.time() - age,) * 2)
    mine = Lease(path)
    assert mine.acquire() is taken
    mine.release()


def test_a_lease_from_the_future_is_as_old_as_it_was_seen_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_module, "STALE_SECONDS", 0.2)
    path = tmp_path / "lease"
    _write(path, 1, "another machine")
    os.utime(path, (time.time() + 1e7,) * 2)
    assert not Lease(path).acquire()
    time.sleep(0.1)
    os.utime(path, (time.time() + 2e7,) * 2)  # a heartbeat
    time.sleep(0.15)
    assert not Lease(path).acquire()
    time.sleep(0.25)
    with Lease(path) as mine:
        assert mine.acquire()
    assert list(tmp_path.iterdir()) == []


def test_a_half_written_lease_is_taken_over_after_a_heartbeat(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    path.write_text('{"pid": 1')
    assert not Lease(path).acquire()
    os.utime(path, (time.time() - lease_module.HEARTBEAT_SECONDS - 1,) * 2)
    mine = Lease(path)
    assert mine.acquire()
    mine.release()


def test_a_reused_process_id_does_not_count_as_alive(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    _write(path, os.getpid(), lease_module.machine(), start="1")
    mine = Lease(path)
    assert mine.acquire()
    mine.release()


def test_a_process_that_ended_unnoticed_by_its_parent_does_not_count_as_alive(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdout.readline().strip() == "True"
    holder.kill()
    state = Path(f"/proc/{holder.pid}/stat")
    while state.read_text().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.01)
    assert Lease(path).abandoned()
    mine = Lease(path)
    assert mine.acquire()
    mine.release()
    holder.wait()


@pytest.mark.parametrize(("age", "taken"), [(0.0, False), (lease_module.STALE_SECONDS + 1, True)])
def test_without_proc_the_heartbeat_alone_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, age: float, taken: bool
) -> None:
    monkeypatch.setattr(lease_module, "machine", lambda: "")
    path = tmp_path / "lease"
    _write(path, 2**22 + 1, "")
    os.utime(path, (time.time() - age,) * 2)
    mine = Lease(path)
    assert mine.acquire() is taken
    mine.release()


def test_a_lease_that_was_taken_over_is_neither_held_nor_kept_fresh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_module, "HEARTBEAT_SECONDS", 0.02)
    path = tmp_path / "lease"
    paused = Lease(path)
    assert paused.acquire() and paused.held() and not paused.abandoned()
    _write(path, 1, "another machine")
    os.utime(path, (1.0, 1.0))
    time.sleep(0.2)
    assert not paused.held() and path.stat().st_mtime == 1.0
    paused.release()
    assert path.exists()


def test_what_a_killed_process_left_while_it_cleared_a_lease_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    old, new = tmp_path / "lease.0123abcd", tmp_path / "lease.4567abcd"
    for grave in (old, new):
        grave.write_text("{}")
    os.utime(old, (1.0, 1.0))
    with Lease(path) as mine:
        assert mine.acquire()
    assert list(tmp_path.iterdir()) == [new]
