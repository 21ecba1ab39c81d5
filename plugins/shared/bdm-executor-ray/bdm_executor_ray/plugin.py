"""The plugin: it keeps a process that talks to Ray, since Ray ends a process whose cluster is gone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bdm_core import Executor
from bdm_executor_ray.params import RayParams

if TYPE_CHECKING:
    from bdm_executor_ray.connection import Connection


class RayExecutor(Executor):
    """Each task is a Ray task, with the resources that its plugin declares; results go through the shared store."""

    name = "ray"
    summary = "Tasks of a Ray cluster"
    Params = RayParams
    tiny_params = {"workers": 1}
    _connection: Connection

    def open(self, params: RayParams, folder: Path) -> None:
        """Connect to the cluster. Raises UserError if Ray is not installed or the cluster cannot be reached."""
        from bdm_executor_ray.connection import Connection

        self._connection = Connection(params, folder)

    def capacity(self) -> int:
        """How many more tasks it takes now."""
        return self._connection.capacity()

    def submit(self, tasks: list[dict[str, Any]]) -> None:
        """Take tasks."""
        self._connection.submit(tasks)

    def collect(self, seconds: float) -> list[tuple[int, dict[str, Any]]]:
        """Number and outcome of finished tasks."""
        return self._connection.collect(seconds)

    def close(self) -> None:
        """Cancel what runs and leave the cluster."""
        self._connection.close()
