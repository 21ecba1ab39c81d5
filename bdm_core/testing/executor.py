"""Conformance tests of executors."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest

from bdm_core.plugin import Executor
from bdm_core.testing.common import PluginConformance

LIMIT_SECONDS = 120.0
"""So long tasks that take no time may need on an engine that is busy."""
NOBODY = "nobody-is-called-so"
Outcomes = dict[int, dict[str, Any]]


class ExecutorConformance(PluginConformance):
    """What every executor must satisfy: each task has one outcome, and whatever runs ends with it.

    Attributes:
        engine: the module of the engine; without it the tests that need it are skipped. "": it needs none.
        cell: fields of the specification of a run that is possible where the tasks are performed, for one real stage.
    """

    kind = "executor"
    engine: ClassVar[str] = ""
    cell: ClassVar[Mapping[str, Any]] = {}

    @contextmanager
    def opened(self, folder: Path) -> Iterator[Executor]:
        """The executor at work, with ``folder`` for its logs."""
        if self.engine:
            pytest.importorskip(self.engine)
        folder.mkdir(exist_ok=True)
        executor = self.subject
        assert isinstance(executor, Executor)
        executor.open(self.chosen_params, folder)
        try:
            yield executor
        finally:
            executor.close()

    def finished(self, executor: Executor, tasks: list[dict[str, Any]]) -> Outcomes:
        """The outcomes of tasks, handed over as there is room."""
        waiting, found = list(tasks), Outcomes()
        end = time.monotonic() + LIMIT_SECONDS
        while len(found) < len(tasks):
            assert time.monotonic() < end, f"{len(tasks) - len(found)} tasks have no outcome"
            room = executor.capacity()
            assert isinstance(room, int) and room >= 0, f"capacity() is {room!r}, not how many tasks it takes"
            if waiting and room:
                executor.submit(waiting[:room])
                del waiting[:room]
            for number, outcome in executor.collect(1.0):
                assert number not in found, f"task {number} has two outcomes"
                found[number] = outcome
        assert executor.capacity() > 0, "it takes no tasks after all have finished"
        return found

    def test_methods_are_its_own(self) -> None:
        missing = [name for name in ("capacity", "submit", "collect") if name not in vars(type(self.subject))]
        assert not missing, f"{type(self.subject).__name__} does not implement {', '.join(missing)}"

    def test_every_task_has_one_outcome(self, tmp_path: Path) -> None:
        with self.opened(tmp_path / "logs") as executor:
            tasks = [task(tmp_path / "runs", number, {"attack": NOBODY}) for number in (3, 7, 8, 11, 12)]
            found = self.finished(executor, tasks)
        assert sorted(found) == [3, 7, 8, 11, 12], f"outcomes of the tasks {sorted(found)}"
        for outcome in found.values():
            assert json.loads(json.dumps(outcome)) == outcome, "an outcome is no JSON"
            assert outcome["status"] == "failed", f"a task that cannot be performed is {outcome['status']!r}"
            assert f"no attack '{NOBODY}' is installed" in outcome["error"], f"the error is lost: {outcome['error']!r}"
            assert "\n" not in outcome["error"], "an error has several lines"

    def test_a_stage_is_performed(self, tmp_path: Path) -> None:
        if not self.cell:
            pytest.skip("no cell is given")
        one = task(tmp_path / "runs", 1, self.cell, label="model")
        with self.opened(tmp_path / "logs") as executor:
            first = self.finished(executor, [one])[1]
            again = self.finished(executor, [{**one, "number": 2}])[2]
        assert (first["status"], again["status"]) == ("done", "done"), f"{first.get('error')} {again.get('error')}"
        assert [key for key, _ in first["computed"]] == [first["key"]], "a stage was not computed once"
        assert (again["key"], again["computed"]) == (first["key"], []), "a finished stage was computed again"

    def test_nothing_given_nothing_found(self, tmp_path: Path) -> None:
        with self.opened(tmp_path / "logs") as executor:
            assert executor.capacity() > 0, "it takes no tasks at its beginning"
            began = time.monotonic()
            assert list(executor.collect(0.2)) == []
            assert time.monotonic() - began < LIMIT_SECONDS / 4, "collect() waits much longer than it was told to"

    def test_it_closes_whatever_it_is_at(self, tmp_path: Path) -> None:
        with self.opened(tmp_path / "logs") as executor:
            executor.submit([task(tmp_path / "runs", 1, {"attack": NOBODY})])
        with self.opened(tmp_path / "logs") as executor:
            found = self.finished(executor, [task(tmp_path / "runs", 2, {"attack": NOBODY})])
        assert list(found) == [2], "after close() it knows of tasks from before"


def task(out: Path, number: int, spec: Mapping[str, Any], label: str = "model") -> dict[str, Any]:
    """A task as a sweep hands it over: one stage of the run that ``spec`` describes, below ``out``."""
    return {
        "number": number,
        "what": f"task {number}",
        "priority": 1.0,
        "seconds": 0.1,
        "needs": {"cpus": 1.0},
        "out": str(out),
        "spec": dict(spec),
        "label": label,
        "stage": "open-model",
        "name": f"run-{number}",
        "command": "",
    }
