"""Perform one task of a sweep, on any machine that sees the store: one stage of a cell, or a cell's last task."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from bdm_core.errors import BdmError, UserError
from bdm_core.machine.foreign import described
from bdm_core.machine.redaction import redact
from bdm_core.run.job import Finished, Job
from bdm_core.run.preparation import Prepared
from bdm_core.run.runner import in_folder
from bdm_core.run.specification import specify
from bdm_core.run.stages import StageRunner
from bdm_core.store.store import Store
from bdm_sweep.cells import Preparation
from bdm_sweep.sketch import Shelf, Sketch, body_of

Outcome = dict[str, Any]
"""What came of a task: ``status`` (``done``, ``unneeded``, ``failed``, or ``refused``
by a defense of the cell), ``error``; ``key`` of the finished stage;
``computed``: key and seconds of every stage that was not in the store; ``memory``: the highest, in bytes;
``processor``: processor seconds of the task, those of finished child processes among them."""
_WORKPLACES: dict[Path, Workplace] = {}


def perform(task: dict[str, Any]) -> Outcome:
    """Perform a task in this process, which keeps what it has read and imported for the next one.

    Args:
        task: as :meth:`bdm_core.plugin.Executor.submit` gets it.
    """
    out = Path(task["out"]).resolve()
    before = sum(os.times()[:4])
    try:
        if out not in _WORKPLACES:
            _WORKPLACES[out] = Workplace(out)
    except BdmError as error:
        return failed(str(error))
    outcome = _WORKPLACES[out].perform(task)
    return {**outcome, "processor": round(sum(os.times()[:4]) - before, 2)}


class Workplace:
    """What a process needs for the tasks of one output folder.

    Args:
        out: the folder of store and runs.
    """

    def __init__(self, out: Path) -> None:
        self._out = out
        self._store = Store(out)
        self._store.prepare()
        self._shelf = Shelf(self._store)
        self._preparation = Preparation()

    def perform(self, task: dict[str, Any]) -> Outcome:
        """Perform a task; whatever goes wrong is its outcome, but for Ctrl-C and SIGTERM."""
        try:
            cell = self._preparation(specify(task["spec"], "the sweep"))
            if task["label"]:
                return self._stage(cell, task["label"])
            view = in_folder(cell, self._out, task["name"], task["command"], body_of(cell), self._store)
            computed = [[entry["key"], entry["seconds"]] for entry in view.stages if not entry["cached"]]
            return {"status": "done", "computed": computed}
        except KeyboardInterrupt:
            raise
        except BdmError as error:
            return failed(str(error))
        except BaseException as error:  # also what calls sys.exit: the worker goes on
            return failed(described(error))

    def _stage(self, cell: Prepared, label: str) -> Outcome:
        """See that the store has a cell's stage of this label, and whatever it needs that nobody foresaw."""
        wanted = [label]
        computed: list[list[Any]] = []
        while wanted:
            walker = _Advance(cell, self._shelf, wanted[-1])
            try:
                walker.walk()
            except _ReachedError as reached:
                record = reached.finished.record
                if not reached.finished.cached:
                    computed.append([record.key, record.seconds])
                wanted.pop()
                if not wanted:
                    return {
                        "status": "done",
                        "key": record.key,
                        "memory": record.peak_memory_bytes,
                        "computed": computed,
                    }
                continue
            except BdmError as error:
                if walker.missing is None:
                    if walker.computing or not isinstance(error, UserError):
                        raise
                    return {**failed(str(error)), "status": "refused", "computed": computed}
            if walker.missing is None or walker.missing in wanted:
                break
            wanted.append(walker.missing)
        return {"status": "unneeded", "computed": computed}


class _ReachedError(Exception):
    """The stage that was wanted is finished."""

    def __init__(self, finished: Finished) -> None:
        super().__init__()
        self.finished = finished


class _Advance(Sketch):
    """Walks through a cell up to one stage and computes that.

    ``missing`` is a stage that must be computed before; ``computing`` is whether a hook was called.
    """

    def __init__(self, cell: Prepared, shelf: Shelf, label: str) -> None:
        super().__init__(cell, shelf)
        self.missing: str | None = None
        self.computing = False
        self._label = label

    def _from_store(self, job: Job) -> Finished | None:
        finished = super()._from_store(job)
        if finished is not None and job.label == self._label:
            raise _ReachedError(finished)
        return finished

    def _lead(self, job: Job) -> Finished:
        if job.label != self._label:
            return super()._lead(job)
        parents = set(self.parents(job))
        if not parents:
            self.computing = True
            raise _ReachedError(StageRunner._lead(self, job))
        super()._lead(job)
        above = parents
        for step in reversed(self.steps):
            if step.key in above:
                above |= set(step.parents)
        self.missing = next(step.label for step in self.steps if step.key in above and not step.parents)
        raise BdmError(f"{self.missing} comes before {self._label}")


def failed(reason: str) -> Outcome:
    """The outcome of a task that failed."""
    return {"status": "failed", "error": redact(" ".join(reason.split()))}
