"""Submit tasks as job arrays, and follow the jobs."""

from __future__ import annotations

import contextlib
import importlib.util
import math
import shutil
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bdm_core import UserError
from bdm_executor_submitit.params import SlurmParams

GIB = 2**30
POLL_SECONDS = 0.2

Tasks = list[dict[str, Any]]
Needs = tuple[int, int, int, int]
"""CPUs, GPUs, GiB of memory, minutes."""


@dataclass
class _Job:
    job: Any
    tasks: Tasks
    needs: Needs
    lost: int = 0


class Jobs:
    """The jobs of a sweep.

    Args:
        params: the executor's parameters.
        folder: gets ``jobs/`` with what submitit writes: scripts, logs, tasks and results, pickled. Nobody else may be
            able to write there.

    Raises:
        UserError: submitit or SLURM is not there.
    """

    def __init__(self, params: SlurmParams, folder: Path) -> None:
        if importlib.util.find_spec("submitit") is None:
            raise UserError('submitit is not installed: pip install "bdm-executor-submitit[engine]"')
        if params.cluster == "slurm" and not (shutil.which("srun") and shutil.which("sbatch")):
            raise UserError("there is no SLURM here (no srun and sbatch): start the sweep on a login node")
        self._params, self._folder = params, (folder / "jobs").resolve()
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._jobs: list[_Job] = []

    def capacity(self) -> int:
        """How many more tasks it takes now."""
        return max(0, self._params.jobs - sum(len(item.tasks) for item in self._jobs))

    def submit(self, tasks: Tasks) -> None:
        """Submit tasks: an array for each kind of resources, most urgent first."""
        groups: dict[Needs, Tasks] = defaultdict(list)
        for task in tasks:
            groups[self._needs(task["needs"])].append(task)
        for needs, members in groups.items():
            bundles = bundled(members, self._params.bundle_seconds)
            jobs = self._array(needs, bundles)
            self._jobs += [_Job(job, bundle, needs) for job, bundle in zip(jobs, bundles, strict=True)]

    def collect(self, seconds: float) -> list[tuple[int, dict[str, Any]]]:
        """Number and outcome of tasks whose jobs have ended."""
        end = time.monotonic() + seconds
        while True:
            for item in list(self._jobs):
                if item.job.done():
                    self._jobs.remove(item)
                    outcomes = self._outcomes(item)
                    if outcomes:
                        return outcomes
            if time.monotonic() > end:
                return []
            time.sleep(POLL_SECONDS)

    def close(self) -> None:
        """Cancel what is queued or running."""
        for item in self._jobs:
            with contextlib.suppress(Exception):  # one that has just ended, or a scheduler that does not answer
                item.job.cancel(check=False)
        self._jobs.clear()

    def _outcomes(self, item: _Job) -> list[tuple[int, dict[str, Any]]]:
        """The outcomes of an ended job's tasks; none if SLURM lost it and it was submitted again."""
        from submitit.core.utils import UncompletedJobError

        try:
            found = item.job.results()[0]
        except UncompletedJobError as error:
            if item.lost < self._params.retries:
                (job,) = self._array(item.needs, [item.tasks])
                self._jobs.append(_Job(job, item.tasks, item.needs, item.lost + 1))
                return []
            found = self._all_failed(item, str(error))
        except Exception as error:  # whatever the job raised, as submitit hands it on
            found = self._all_failed(item, str(error))
        return [(int(task["number"]), outcome) for task, outcome in zip(item.tasks, found, strict=True)]

    def _all_failed(self, item: _Job, reason: str) -> list[dict[str, Any]]:
        line = next((line for line in reversed(reason.splitlines()) if line.strip()), "it gave no reason")
        text = f"job {item.job.job_id} did not end in order: {line.strip()}: see {self._folder}"
        return [{"status": "failed", "error": text} for _ in item.tasks]

    def _needs(self, needs: dict[str, float]) -> Needs:
        """What a job asks for, memory in steps of a power of two so that arrays are few."""
        memory = needs.get("memory", 0) * 1.25 / GIB or self._params.memory_gib
        minutes = math.ceil(60 * needs["hours"]) if needs.get("hours") else self._params.minutes
        steps = 2 ** math.ceil(math.log2(max(1.0, memory)))
        return math.ceil(needs.get("cpus", 1)), math.ceil(needs.get("gpus", 0)), int(steps), minutes

    def _array(self, needs: Needs, bundles: list[Tasks]) -> list[Any]:
        """Submit one job for each bundle, as an array if there are several."""
        from bdm_executor_submitit.job import TasksInTurn

        engine = self._engine(needs)
        work, folder = TasksInTurn(), str(self._folder)
        if len(bundles) == 1:
            return [engine.submit(work, bundles[0], folder)]
        jobs: list[Any] = engine.map_array(work, bundles, [folder] * len(bundles))
        return jobs

    def _engine(self, needs: Needs) -> Any:
        import submitit

        params = self._params
        cpus, gpus, memory, minutes = needs
        options = {"slurm_max_num_timeout": params.requeues} if params.cluster == "slurm" else {}
        engine = submitit.AutoExecutor(folder=self._folder, cluster=params.cluster, **options)
        chosen = {name: getattr(params, name) for name in ("partition", "account", "qos", "constraint")}
        engine.update_parameters(
            name="bdm",
            timeout_min=minutes,
            cpus_per_task=cpus,
            mem_gb=memory,
            slurm_array_parallelism=params.parallel,
            slurm_setup=params.setup or None,
            slurm_additional_parameters=dict(params.more) or None,
            **({"gpus_per_node": gpus} if gpus else {}),
            **{f"slurm_{name}": value for name, value in chosen.items() if value},
        )
        return engine


def bundled(tasks: Tasks, seconds: float) -> list[Tasks]:
    """Tasks in bundles of at most so many expected seconds; each alone if that is 0, or if it takes longer.

    >>> lengths = [3.0, 4.0, 2.0, 9.0, 1.0]
    >>> found = bundled([{"seconds": length} for length in lengths], 8.0)
    >>> [[task["seconds"] for task in bundle] for bundle in found]
    [[3.0, 4.0], [2.0], [9.0], [1.0]]
    """
    found: list[Tasks] = []
    room = 0.0
    for task in tasks:
        expected = float(task.get("seconds", 0.0))
        if not found or not seconds or expected > room:
            found.append([])
            room = seconds
        found[-1].append(task)
        room -= expected
    return found
