"""Work off a graph of tasks with an executor: hand out what may begin, the most urgent first, and follow it up."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bdm_core.plugin import Executor
from bdm_sweep.graph import Graph, Task
from bdm_sweep.schedule import Queue
from bdm_sweep.times import Times

COLLECT_SECONDS = 0.5
Event = dict[str, Any]
Kind = tuple[str, str]
"""A stage's name, and the plugin that decides it."""


@dataclass
class State:
    """How far a sweep is.

    Attributes:
        graph: its tasks.
        times: how long stages take; those that finish are added.
        running: numbers of the tasks that were handed out, with the time when.
        done: how many tasks are finished.
        computed: how many stages this sweep computed.
        dropped: numbers of the tasks that no cell needs any more, because a stage of it failed.
        failed: number of a cell -> why it failed.
        complete: numbers of the cells that are complete.
        seconds: time that computed stages took, together.
        left: how many tasks of a stage and plugin are not finished.
    """

    graph: Graph
    times: Times
    running: dict[int, float] = field(default_factory=dict)
    done: int = 0
    computed: int = 0
    dropped: set[int] = field(default_factory=set)
    failed: dict[int, str] = field(default_factory=dict)
    complete: set[int] = field(default_factory=set)
    seconds: float = 0.0
    left: Counter[Kind] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.left.update(map(_kind, self.graph.tasks))

    @property
    def work_left(self) -> float:
        """Expected seconds of all tasks that are not finished, from what is known by now."""
        return sum(count * self.times.seconds(stage, [plugin]) for (stage, plugin), count in self.left.items())


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
        self._handed_out: set[int] = set()
        self._tasks_of: dict[int, list[Task]] = defaultdict(list)
        for task in state.graph.tasks:
            for cell in task.cells:
                self._tasks_of[cell].append(task)

    def run(self) -> None:
        """Work until nothing is left that can be done. A task that fails takes its cells along, and nothing else."""
        state, tasks = self._state, self._state.graph.tasks
        while True:
            self._hand_out()
            if not state.running:
                return
            for number, outcome in self._executor.collect(COLLECT_SECONDS):
                if state.running.pop(number, None) is not None:
                    self._finish(tasks[number], outcome)

    def _hand_out(self) -> None:
        room = self._executor.capacity() if self._queue else 0
        chosen: list[Task] = []
        while self._queue and len(chosen) < room:
            task = self._queue.pop()
            if task.number not in self._state.dropped:
                chosen.append(task)
        for task in chosen:
            self._handed_out.add(task.number)
            self._state.running[task.number] = time.monotonic()
            self._tell({"event": "task_started", **_facts(task)})
        if chosen:
            self._executor.submit([self._order(task) for task in chosen])

    def _finish(self, task: Task, outcome: dict[str, Any]) -> None:
        state = self._state
        state.left[_kind(task)] -= 1
        told = ("key", "computed", "worker", "memory", "processor")
        facts: Event = {name: outcome[name] for name in told if name in outcome}
        if outcome.get("status") not in ("done", "unneeded"):
            reason = str(outcome.get("error") or "the executor gave no reason")
            self._tell({"event": "task_failed", **_facts(task), **facts, "error": reason})
            self._fail([task.cell] if outcome.get("status") == "refused" else task.cells, task, reason)
            if task.cell not in state.failed:  # the refusal was of one cell: another that needs the task asks for it
                state.left[_kind(task)] += 1
                self._queue.again(task)
            return
        state.done += 1
        computed = [(str(key), float(seconds)) for key, seconds in outcome.get("computed") or []]
        state.computed += len(computed)
        state.seconds += sum(seconds for _, seconds in computed)
        if task.label and computed and computed[-1][0] == outcome.get("key"):
            state.times.add(task.stage, task.plugins, computed[-1][1], outcome.get("memory"))
        self._tell({"event": "task_finished", **_facts(task), **facts, "status": outcome["status"]})
        self._queue.finish(task)
        if not task.label:
            state.complete.add(task.cell)
            self._tell({"event": "cell_finished", "cell": task.cell})

    def _fail(self, cells: list[int], task: Task, reason: str) -> None:
        """Give up cells that need a task, and the tasks that only they need; others get a cell that is left."""
        state = self._state
        for cell in [number for number in cells if number not in state.failed]:
            state.failed[cell] = reason
            self._tell({"event": "cell_failed", "cell": cell, "stage": task.label or task.stage, "error": reason})
            for other in self._tasks_of[cell]:
                left = [number for number in other.cells if number not in state.failed]
                needed = bool(left)
                if left and other.cell == cell:
                    other.cell = left[0]
                if not (needed or other.number in self._handed_out or other.number in state.dropped):
                    state.dropped.add(other.number)
                    state.left[_kind(other)] -= 1


def _kind(task: Task) -> Kind:
    return task.stage, next(iter(task.plugins), "")


def _facts(task: Task) -> dict[str, Any]:
    return {"task": task.number, "label": task.label, "stage": task.stage, "what": task.what, "cells": len(task.cells)}
