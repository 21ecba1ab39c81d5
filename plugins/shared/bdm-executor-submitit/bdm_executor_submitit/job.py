"""What runs inside a job: its tasks in a warm worker, which ends in order when the job's time is over."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bdm_sweep.local import Pool, Slots

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission


class TasksInTurn:
    """Performs tasks one after the other.

    The hooks work in a process of their own. So the signal that announces the end of a job's time reaches this process
    alone: submitit asks :meth:`checkpoint`, queues the job again and leaves, whereupon the worker is ended. Training
    then continues from its last checkpoint in the store.
    """

    def __call__(self, tasks: list[dict[str, Any]], folder: str) -> list[dict[str, Any]]:
        """The outcomes of the tasks, in their order.

        Args:
            tasks: as :func:`bdm_sweep.work.perform` takes them.
            folder: for the worker's output.
        """
        threads = int(os.environ.get("SLURM_CPUS_PER_TASK") or tasks[0]["needs"].get("cpus", 1))
        job = os.environ.get("SLURM_ARRAY_JOB_ID") or os.environ.get("SLURM_JOB_ID") or str(os.getpid())
        place = Path(folder) / f"job-{job}-{os.environ.get('SLURM_ARRAY_TASK_ID', '0')}"
        place.mkdir(parents=True, exist_ok=True)
        pool = Pool(Slots(1, threads, 2**62, [], 1), place)
        found: dict[int, dict[str, Any]] = {}
        try:
            for task in tasks:
                pool.submit([{**task, "needs": {}}])
                while int(task["number"]) not in found:
                    found |= dict(pool.collect(1.0))
        finally:
            pool.close()
        return [found[int(task["number"])] for task in tasks]

    def checkpoint(self, tasks: list[dict[str, Any]], folder: str) -> DelayedSubmission:
        """The same again: what is finished is in the store, the rest has checkpoints there."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(TasksInTurn(), tasks, folder)
