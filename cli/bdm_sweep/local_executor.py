"""The executor ``local``: warm worker processes on this machine."""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import Any

from bdm_core import Executor, Field, Params
from bdm_sweep.local import Pool, Slots


class LocalParams(Params):
    workers: int = Field(0, ge=0, le=4096, description="Worker processes; 0 for as many as cores and GPUs allow.")
    threads: int = Field(
        0, ge=0, le=4096, description="Threads of each worker; 0 for OMP_NUM_THREADS, or else the cores shared."
    )
    memory_gib: float = Field(
        0.0, ge=0, description="Memory in GiB that stages may need together, as recorded; 0 for 0.9 of the machine's."
    )
    gpus: int = Field(-1, ge=-1, le=64, description="GPUs to share among the workers; -1 for all that are visible.")
    per_gpu: int = Field(1, ge=1, le=64, description="Stages that may use one GPU at a time.")


class LocalExecutor(Executor):
    """Stages in processes of this machine; cores, memory and GPUs are not promised twice."""

    name = "local"
    here = True
    summary = "Worker processes on this machine"
    Params = LocalParams
    tiny_params = {"workers": 1}

    def open(self, params: LocalParams, folder: Path) -> None:
        """Get ready; workers start with the first tasks."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        devices = visible_gpus() if params.gpus < 0 else visible_gpus()[: params.gpus]
        usual = len(devices) * params.per_gpu or min(cores, max(2, cores // 4))
        workers = params.workers or usual
        given = os.environ.get("OMP_NUM_THREADS", "")
        threads = params.threads or (int(given) if given.isdecimal() else 0) or max(1, cores // workers)
        memory = int(params.memory_gib * 2**30) or int(0.9 * total_memory())
        slots = Slots(workers, threads, memory, devices, params.per_gpu)
        self._pool = Pool(slots, folder)

    def capacity(self) -> int:
        """How many more tasks it takes now."""
        return self._pool.capacity()

    def submit(self, tasks: list[dict[str, Any]]) -> None:
        """Take tasks."""
        self._pool.submit(tasks)

    def collect(self, seconds: float) -> list[tuple[int, dict[str, Any]]]:
        """Outcomes by number of the task."""
        return self._pool.collect(seconds)

    def close(self) -> None:
        """End the workers; what they were at continues from its last checkpoint another time."""
        self._pool.close()


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is not None:
        return [name.strip() for name in listed.split(",") if name.strip() not in ("", "-1")]
    return [str(number) for number in range(len(glob.glob("/dev/nvidia[0-9]*")))]  # noqa: PTH207 - device files


def total_memory() -> int:
    """The machine's memory in bytes, or the container's limit."""
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
        return min(found, int(limit))
    except (OSError, ValueError):
        return found
