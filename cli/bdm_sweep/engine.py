"""Work off a graph of tasks with an executor: hand out what may begin, the most urgent first, and follow it up."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bdm_core.plugin import Executor
from bdm_sweep.graph import Graph, Task
from bdm_sweep.schedule import Queue

COLLECT_SECONDS = 0.5
Event = dict[str, Any]


@dataclass
class State:
    """How far a sweep is.

    Attributes:
        graph: its tasks.
        running: numbers of the tasks that were handed out, with the time when.
        done: how many tasks are finished.
        computed: how many of them are stages that this sweep computed.
        dropped: how many tasks no cell needs any more, because a stage of it failed.
        failed: number of a cell -> why it failed.
        complete: numbers of the cells that are complete.
        seconds: time that finished stages took, together.
        work_left: expected seconds of all tasks that are not finished.
    """

    graph: Graph
    running: dict[int, float] = field(default_factory=dict)
    done: int = 0
    computed: int = 0
    dropped: int = 0
    failed: dict[int, str] = field(default_factory=dict)
    complete: set[int] = field(default_factory=set)
    seconds: float = 0.0
    work_left: float = 0.0

    def seconds_left(self, workers: int) -> float:
        """Expected time to the end with so many tasks at a time."""
        return max(0.0, self.work_left) / max(1, workers)


class Engine:
    """Hands the tasks of a graph to an executor.

    Args:
        state: its graph is worked off.
        executor: opened already.
        order: makes what the executor gets from a task.
        on_event: told of everything that happens.
    """

    def __init__(
        self,
        state: State,
        executor: Executor,
        order: Callable[[Task], dict[str, Any]],
        on_event: Callable[[Event], None],
    ) -> None:
        self._state, self._executor, self._order, self._tell = state, executor, order, on_event
        self._queue = Queue(state.graph)
        self._handed_out = 0
        state.work_left = state.graph.work

    def run(self) -> None:
        """Work until nothing is left that can be done. A task that fails takes its cells along, and nothing else."""
        state, tasks = self._state, self._state.graph.tasks
        while True:
            self._hand_out()
            if not state.running:
                break
            for number, outcome in self._executor.collect(COLLECT_SECONDS):
                if state.running.pop(number, None) is not None:
                    self._finish(tasks[number], outcome)
        state.dropped = len(tasks) - self._handed_out

    def _hand_out(self) -> None:
        room = self._executor.capacity() if self._queue else 0
        chosen: list[Task] = []
        while self._queue and len(chosen) < room:
            task = self._queue.pop()
            if any(cell not in self._state.failed for cell in task.cells):
                chosen.append(task)
            else:
                self._state.work_left -= task.seconds
        for task in chosen:
            self._handed_out += 1
            self._state.running[task.number] = time.monotonic()
            self._tell({"event": "task_started", **_facts(task)})
        if chosen:
            self._executor.submit([self._order(task) for task in chosen])

    def _finish(self, task: Task, outcome: dict[str, Any]) -> None:
        state = self._state
        state.work_left -= task.seconds
        facts: Event = {name: outcome[name] for name in ("key", "computed", "worker", "memory") if name in outcome}
        failed = outcome.get("status") not in ("done", "unneeded")
        if failed:
            reason = str(outcome.get("error") or "the executor gave no reason")
            self._tell({"event": "task_failed", **_facts(task), **facts, "error": reason})
            for cell in task.cells:
                if cell not in state.failed:
                    state.failed[cell] = reason
                    self._tell(
                        {"event": "cell_failed", "cell": cell, "stage": task.label or task.stage, "error": reason}
                    )
            return
        state.done += 1
        computed = outcome.get("computed") or []
        state.computed += len(computed)
        state.seconds += sum(float(seconds) for _, seconds in computed)
        self._tell({"event": "task_finished", **_facts(task), **facts, "status": outcome["status"]})
        self._queue.finish(task)
        if not task.label:
            state.complete.add(task.cell)
            self._tell({"event": "cell_finished", "cell": task.cell})


def _facts(task: Task) -> dict[str, Any]:
    return {"task": task.number, "label": task.label, "stage": task.stage, "what": task.what, "cells": len(task.cells)}
