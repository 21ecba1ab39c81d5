"""The process that talks to Ray: tasks come through a socket, outcomes and signs of life go back."""

from __future__ import annotations

import json
import sys
import time
from multiprocessing.connection import Connection
from typing import Any

BEAT_SECONDS = 1.0


def perform(task: dict[str, Any]) -> dict[str, Any]:
    """Perform a task in a Ray worker, which keeps what it has imported."""
    from bdm_sweep.work import perform as perform_here

    return perform_here(task)


class Driver:
    """Hands tasks to Ray.

    Args:
        ray: the module, connected to a cluster.
        pipe: to the sweep.
        retries: how often Ray tries a task again when its worker dies.
    """

    def __init__(self, ray: Any, pipe: Connection, retries: int) -> None:
        self._ray, self._pipe = ray, pipe
        self._remote, self._retries = ray.remote(perform), retries
        self._out: dict[Any, int] = {}

    def serve(self) -> None:
        """Work until the sweep says so, or is gone."""
        beat = 0.0
        while True:
            while self._pipe.poll(0 if self._out else BEAT_SECONDS):
                message = json.loads(self._pipe.recv_bytes())
                if message.get("end"):
                    self._cancel()
                    return
                for task in message["submit"]:
                    self._submit(task)
            if self._out:
                ready, _ = self._ray.wait(list(self._out), timeout=0.2, num_returns=1, fetch_local=False)
                for reference in ready:
                    self._send({"number": self._out.pop(reference), "outcome": outcome_of(self._ray, reference)})
            if time.monotonic() - beat > BEAT_SECONDS:
                self._ray.cluster_resources()  # an error here means that the cluster is gone
                self._send({})
                beat = time.monotonic()

    def _submit(self, task: dict[str, Any]) -> None:
        needs = resources(task["needs"])
        lacking = impossible(self._ray, needs)
        if lacking:
            self._send({"number": task["number"], "outcome": {"status": "failed", "error": lacking}})
            return
        options = {"name": str(task["what"])[:200], "max_retries": self._retries, **needs}
        reference = self._remote.options(**options).remote(task)
        self._out[reference] = int(task["number"])

    def _cancel(self) -> None:
        for reference in self._out:
            self._ray.cancel(reference, force=True)

    def _send(self, message: dict[str, Any]) -> None:
        self._pipe.send_bytes(json.dumps(message).encode())


def outcome_of(ray: Any, reference: Any) -> dict[str, Any]:
    """The outcome of a finished task; one that Ray gave up has failed."""
    try:
        outcome: dict[str, Any] = ray.get(reference)
        return outcome
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError, ray.exceptions.NodeDiedError) as error:
        return {"status": "failed", "error": f"Ray gave the task up: {type(error).__name__}: {first_line(error)}"}
    except ray.exceptions.RayTaskError as error:
        return {"status": "failed", "error": f"{type(error.cause).__name__}: {first_line(error.cause)}"}


def first_line(error: BaseException) -> str:
    """The first line of an error's message."""
    return next(iter(str(error).splitlines()), "")


def resources(needs: dict[str, float]) -> dict[str, float]:
    """What a task needs, in Ray's words; memory in bytes."""
    found = {"num_cpus": needs.get("cpus", 1.0), "num_gpus": needs.get("gpus", 0.0)}
    return {**found, "memory": needs["memory"]} if needs.get("memory") else found


def impossible(ray: Any, needs: dict[str, float]) -> str:
    """Why no machine of the cluster could ever run a task; "" if one can."""
    names = {"num_cpus": "CPU", "num_gpus": "GPU", "memory": "memory"}
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if any(all(machine.get(names[name], 0) >= value for name, value in needs.items()) for machine in machines):
        return ""
    wanted = ", ".join(f"{value:g} {names[name]}" for name, value in needs.items())
    return f"no machine of the Ray cluster has {wanted}"


def main(handle: int, params: dict[str, Any]) -> None:
    """Connect, say how many CPUs there are, and serve."""
    import ray

    pipe = Connection(handle)
    options = {"address": params["address"]} if params["address"] else {"include_dashboard": False}
    ray.init(**options, log_to_driver=False, logging_level="warning", namespace="bdm")
    pipe.send_bytes(json.dumps({"cpus": ray.cluster_resources().get("CPU", 1)}).encode())
    try:
        Driver(ray, pipe, params["retries"]).serve()
    except (EOFError, OSError):
        pass  # the sweep is gone
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main(int(sys.argv[1]), json.loads(sys.argv[2]))
