"""Sweeps on a real Ray cluster: a worker that is killed, a head that is started again. Skipped without Ray."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sweep_toys import TOY, digests

from bdm_core.discovery.candidates import find
from bdm_core.errors import UserError
from bdm_core.testing import ExecutorConformance
from bdm_executor_ray.connection import Connection
from bdm_executor_ray.params import RayParams
from bdm_executor_ray.plugin import RayExecutor
from bdm_sweep import Summary, sweep

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None or not Path("/proc/self/stat").exists(),
    reason='Ray is not installed: pip install "bdm-executor-ray[engine]"',
)
PLAN: dict[str, Any] = {
    "attacks": [{"name": "toy", "params": {"steps": 40, "pause": 0.05}}],
    "defenses": ["toy", "toy-rows"],
    "options": {"device": "cpu", "data_share": 0.5},
}


@pytest.fixture(autouse=True)
def _toy_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(TOY))


def test_it_is_light_and_found() -> None:
    assert find("executor", "ray").load().summary == RayExecutor.summary
    code = "import sys, bdm_executor_ray.plugin; print('ray' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_without_ray_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r'Ray is not installed: pip install "bdm-executor-ray\[engine\]"'):
        Connection(RayParams(), tmp_path)


class Cluster:
    """A Ray head on this machine, with two CPUs."""

    def __init__(self, port: int) -> None:
        self.address = f"127.0.0.1:{port}"
        self._command = [
            *(sys.executable, "-c", "from ray.scripts.scripts import main; main()", "start", "--head", "--block"),
            *(f"--port={port}", "--num-cpus=2", "--include-dashboard=false", "--disable-usage-stats"),
        ]
        self._start()

    def _start(self) -> None:
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TOY), *filter(None, sys.path)])}
        self._process = subprocess.Popen(self._command, start_new_session=True, env=environment, **quiet)

    def kill(self) -> None:
        """End the head and everything it has started, at once."""
        for pid in [*descendants(self._process.pid), self._process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()

    def restart(self) -> None:
        """Kill the head and start one on the same address."""
        self.kill()
        self._start()


def descendants(pid: int) -> list[int]:
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            parents.setdefault(parent, []).append(int(path.parent.name))
    found = list(parents.get(pid, []))
    for child in found:
        found += parents.get(child, [])
    return found


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        yield from _cluster()


def _cluster() -> Iterator[Cluster]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    made = Cluster(port)
    yield made
    made.kill()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("undisturbed")
    sys.path.insert(0, str(TOY))
    try:
        sweep(PLAN, out=folder, params={"workers": 1})
    finally:
        sys.path.remove(str(TOY))
    return digests(folder)


def swept(out: Path, cluster: Cluster, disturb: Callable[[], None] | None) -> tuple[Summary, list[dict[str, Any]]]:
    """Run the plan on the cluster and disturb it once, when training has written a checkpoint."""
    events: list[dict[str, Any]] = []
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            if list(out.glob("store/.work/*/work/checkpoint.json")):
                time.sleep(0.2)
                assert disturb is not None
                disturb()
                return
            time.sleep(0.02)

    watcher = threading.Thread(target=watch) if disturb is not None else None
    if watcher is not None:
        watcher.start()
    params = {"address": cluster.address, "silence": 15, "patience": 120}
    try:
        found = sweep(PLAN, out=out, executor="ray", params=params, on_event=events.append)
    finally:
        done.set()
        if watcher is not None:
            watcher.join()
    return found, events


@needs_ray
def test_a_sweep_on_a_cluster(tmp_path: Path, cluster: Cluster, undisturbed: dict[str, Any]) -> None:
    found, events = swept(tmp_path, cluster, None)
    assert (len(found.complete), found.failed) == (2, {})
    assert digests(tmp_path) == undisturbed
    keys = [key for event in events for key, _ in event.get("computed", ())]
    assert len(keys) == len(set(keys)) == found.computed


@needs_ray
def test_a_worker_killed_inside_a_stage(tmp_path: Path, cluster: Cluster, undisturbed: dict[str, Any]) -> None:
    killed: list[int] = []

    def kill_worker() -> None:
        (lease,) = [path for path in tmp_path.glob("store/.work/*.lease") if path.with_suffix("").glob("work/*.json")]
        killed.append(json.loads(lease.read_text())["pid"])
        os.kill(killed[0], signal.SIGKILL)

    found, _ = swept(tmp_path, cluster, kill_worker)
    assert killed and (len(found.complete), found.failed) == (2, {})
    assert digests(tmp_path) == undisturbed


@needs_ray
def test_the_head_is_started_again(tmp_path: Path, cluster: Cluster, undisturbed: dict[str, Any]) -> None:
    found, _ = swept(tmp_path, cluster, cluster.restart)
    assert (len(found.complete), found.failed) == (2, {})
    assert digests(tmp_path) == undisturbed
    assert (found.folder / "ray.log").exists()


@needs_ray
def test_what_no_machine_has_is_said(tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    from bdm_sweep.needs import Needs

    monkeypatch.setattr(Needs, "of", lambda self, task, spec: {"cpus": 1.0, "gpus": 4.0})
    found, _ = swept(tmp_path, cluster, None)
    assert set(found.failed.values()) == {"no machine of the Ray cluster has 1 CPU, 4 GPU"}


class TestRay(ExecutorConformance):
    plugin = "ray"
    engine = "ray"
    cell = {"attack": "toy", "device": "cpu"}

    @pytest.fixture(autouse=True)
    def _on_the_cluster(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
        if importlib.util.find_spec("ray") is not None and "tmp_path" in request.fixturenames:
            monkeypatch.setattr(type(self), "params", {"address": request.getfixturevalue("cluster").address})
