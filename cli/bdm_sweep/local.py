"""A pool of warm worker processes with slots for memory and GPUs."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from bdm_sweep.allocation import keeping_environment

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "RAYON_NUM_THREADS")
GRACE_SECONDS = 5.0
"""So long a worker has to end before it is killed."""

Outcomes = list[tuple[int, dict[str, Any]]]


@dataclass(frozen=True)
class Slots:
    """What a pool may use.

    Attributes:
        workers: processes.
        threads: threads of each.
        memory: bytes that running stages may need together.
        devices: GPUs; worker number n is given GPU n modulo their number.
        per_gpu: stages that may use a GPU at a time.
    """

    workers: int
    threads: int
    memory: int
    devices: list[str]
    per_gpu: int


@dataclass
class _Worker:
    place: int
    process: subprocess.Popen[bytes]
    connection: Connection
    task: dict[str, Any] | None = None


@dataclass
class Pool:
    """Runs tasks in worker processes.

    Args:
        slots: what it may use.
        folder: where the workers' output goes.
    """

    slots: Slots
    folder: Path
    _workers: list[_Worker] = field(default_factory=list)
    _waiting: list[dict[str, Any]] = field(default_factory=list)

    def capacity(self) -> int:
        """Free workers. Where tasks wait for memory or a GPU, further ones are taken that may pass them by."""
        free = self.slots.workers - sum(worker.task is not None for worker in self._workers)
        if free and self._waiting:
            return max(0, min(free, 4 * self.slots.workers - len(self._waiting)))
        return free

    def submit(self, tasks: list[dict[str, Any]]) -> None:
        """Take tasks; those for which there is no room wait, the most urgent first."""
        self._waiting = sorted([*self._waiting, *tasks], key=lambda task: -float(task["priority"]))
        self._dispatch()

    def collect(self, seconds: float) -> Outcomes:
        """What has finished, after so many seconds at most. A worker that died is replaced, its task has failed."""
        busy = {worker.connection: worker for worker in self._workers if worker.task is not None}
        found: Outcomes = []
        for ready in wait(list(busy), seconds) if busy else ():
            worker = busy[ready]  # type: ignore[index]
            assert worker.task is not None
            number = int(worker.task["number"])
            try:
                outcome = json.loads(worker.connection.recv_bytes())
            except (EOFError, OSError, ValueError):
                outcome = {"status": "failed", "error": self._bury(worker)}
            worker.task = None
            found.append((number, {**outcome, "worker": worker.place}))
        self._dispatch()
        return found

    def close(self) -> None:
        """End every worker."""
        for worker in self._workers:
            if worker.task is None:
                worker.connection.close()
            else:
                worker.process.send_signal(signal.SIGTERM)
        end = time.monotonic() + GRACE_SECONDS
        for worker in self._workers:
            try:
                worker.process.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(worker.process.pid, signal.SIGKILL)
                worker.process.wait()
            worker.connection.close()
        self._workers.clear()
        self._waiting.clear()

    def _dispatch(self) -> None:
        left = []
        for task in self._waiting:
            worker = self._worker_for(task["needs"])
            if worker is None:
                left.append(task)
                continue
            worker.task = task
            with contextlib.suppress(OSError):  # it has died; collect() notices
                worker.connection.send_bytes(json.dumps(task).encode())
        self._waiting = left

    def _worker_for(self, needs: dict[str, float]) -> _Worker | None:
        running = [worker for worker in self._workers if worker.task is not None]
        if len(running) >= self.slots.workers:
            return None
        memory = sum(float(worker.task["needs"].get("memory", 0)) for worker in running if worker.task)
        if running and memory + needs.get("memory", 0) > self.slots.memory:
            return None
        free = [worker for worker in self._workers if worker.task is None]
        taken = {worker.place for worker in self._workers}
        places = [worker.place for worker in free] + [
            place for place in range(self.slots.workers) if place not in taken
        ]
        for place in places:
            if needs.get("gpus") and self._gpu_is_taken(place, running):
                continue
            return next((worker for worker in free if worker.place == place), None) or self._start(place)
        return None

    def _gpu_is_taken(self, place: int, running: list[_Worker]) -> bool:
        devices = len(self.slots.devices)
        if not devices:
            return False
        users = sum(
            bool(worker.task and worker.task["needs"].get("gpus")) and worker.place % devices == place % devices
            for worker in running
        )
        return users >= self.slots.per_gpu

    def _start(self, place: int) -> _Worker:
        ours, theirs = socket.socketpair()
        environment = {**os.environ, **keeping_environment(), **dict.fromkeys(THREADS, str(self.slots.threads))}
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        if self.slots.devices:
            environment["CUDA_VISIBLE_DEVICES"] = self.slots.devices[place % len(self.slots.devices)]
        with (self.folder / f"worker-{place}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "bdm_sweep.worker", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        theirs.close()
        worker = _Worker(place, process, Connection(ours.detach()))
        self._workers.append(worker)
        return worker

    def _bury(self, worker: _Worker) -> str:
        """Remove a worker that has died; returns how it did."""
        try:
            code = worker.process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            worker.process.kill()
            code = worker.process.wait()
        worker.connection.close()
        self._workers.remove(worker)
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"it ended with code {code}"
        what = worker.task["what"] if worker.task else "?"
        return f"the worker died in {what} ({how}): see {self.folder / f'worker-{worker.place}.log'}"
