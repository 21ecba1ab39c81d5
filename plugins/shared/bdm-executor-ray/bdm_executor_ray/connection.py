"""The sweep's side: a process that talks to Ray, started again, with the tasks that are out, when it or Ray is gone."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import multiprocessing.connection
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bdm_core import UserError
from bdm_executor_ray.params import RayParams

START_SECONDS = 120.0
"""So long a process may take to reach the cluster."""
AGAIN_SECONDS = 2.0
END_SECONDS = 20.0

Outcomes = list[tuple[int, dict[str, Any]]]


class Connection:
    """Hands tasks to the process that talks to Ray, and gets outcomes from it.

    Args:
        params: the executor's parameters.
        folder: where that process writes its log.

    Raises:
        UserError: Ray is not installed, or the cluster cannot be reached.
    """

    def __init__(self, params: RayParams, folder: Path) -> None:
        if importlib.util.find_spec("ray") is None:
            raise UserError('Ray is not installed: pip install "bdm-executor-ray[engine]"')
        self._params, self._folder = params, folder
        self._out: dict[int, dict[str, Any]] = {}
        self._cpus = 1
        self._lost_since: float | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._start()
        if not self._hear_cpus():
            self._kill()
            where = params.address or "a cluster on this machine"
            raise UserError(f"cannot reach {where}: see {self._log}")

    @property
    def _log(self) -> Path:
        return self._folder / "ray.log"

    def capacity(self) -> int:
        """How many more tasks it takes now."""
        return max(0, (self._params.workers or self._cpus) - len(self._out))

    def submit(self, tasks: list[dict[str, Any]]) -> None:
        """Hand tasks over."""
        for task in tasks:
            self._out[int(task["number"])] = task
        self._send({"submit": tasks})

    def collect(self, seconds: float) -> Outcomes:
        """What has finished. If the cluster is gone, this waits for it and hands everything over again.

        Raises:
            UserError: it did not come back within ``patience``.
        """
        found: Outcomes = []
        end = time.monotonic() + seconds
        while not found and (left := end - time.monotonic()) > 0:
            if not self._pipe.poll(left):
                self._check_silence()
                continue
            try:
                message = json.loads(self._pipe.recv_bytes())
            except (EOFError, OSError):
                self._reconnect()
                continue
            self._heard, self._lost_since = time.monotonic(), None
            number = message.get("number")
            if number in self._out:
                del self._out[number]
                found.append((number, message["outcome"]))
        return found

    def close(self) -> None:
        """Cancel what runs and end the process."""
        self._send({"end": True})
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(END_SECONDS)
            self._kill()

    def _send(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # it is gone; collect() notices
            self._pipe.send_bytes(json.dumps(message).encode())

    def _check_silence(self) -> None:
        if time.monotonic() - self._heard > self._params.silence:
            self._kill()

    def _reconnect(self) -> None:
        since = self._lost_since = self._lost_since or time.monotonic()
        self._kill()
        if time.monotonic() - since > self._params.patience:
            raise UserError(
                f"the Ray cluster was gone for {self._params.patience:.0f} s: see {self._log}; "
                "the same command continues when it is back"
            )
        time.sleep(AGAIN_SECONDS)
        self._start()
        if self._hear_cpus():
            self._send({"submit": list(self._out.values())})

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        environment = {"RAY_gcs_rpc_server_reconnect_timeout_s": "10", "RAY_DEDUP_LOGS": "0", **os.environ}
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "bdm_executor_ray.driver", str(theirs.fileno()), self._params.model_dump_json()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        theirs.close()
        self._pipe = multiprocessing.connection.Connection(ours.detach())
        self._heard = time.monotonic()

    def _hear_cpus(self) -> bool:
        """Whether the process has reached the cluster; its first message says how many CPUs that has."""
        try:
            if not self._pipe.poll(START_SECONDS):
                return False
            self._cpus = max(1, int(json.loads(self._pipe.recv_bytes())["cpus"]))
        except (EOFError, OSError):
            return False
        self._heard = time.monotonic()
        return True

    def _kill(self) -> None:
        """End the process with all that it has started on this machine."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
