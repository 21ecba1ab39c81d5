"""The plugin: light, submitit is imported when a sweep begins."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bdm_core import Executor
from bdm_executor_submitit.params import SlurmParams

if TYPE_CHECKING:
    from bdm_executor_submitit.jobs import Jobs


class SlurmExecutor(Executor):
    """Stages that may begin are submitted as job arrays, one for each kind of resources."""

    name = "slurm"
    summary = "Job arrays of SLURM, by submitit"
    Params = SlurmParams
    tiny_params = {"cluster": "debug"}
    _jobs: Jobs

    def open(self, params: SlurmParams, folder: Path) -> None:
        """Get ready. Raises UserError if submitit or SLURM is not there."""
        from bdm_executor_submitit.jobs import Jobs

        self._jobs = Jobs(params, folder)

    def capacity(self) -> int:
        """How many more tasks it takes now."""
        return self._jobs.capacity()

    def submit(self, tasks: list[dict[str, Any]]) -> None:
        """Submit tasks."""
        self._jobs.submit(tasks)

    def collect(self, seconds: float) -> list[tuple[int, dict[str, Any]]]:
        """Number and outcome of finished tasks."""
        return self._jobs.collect(seconds)

    def close(self) -> None:
        """Cancel the jobs."""
        self._jobs.close()
