"""Run a plan: what ``bdm sweep`` does, as a function."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bdm_core.discovery.candidates import find
from bdm_core.errors import UserError
from bdm_core.files import canonical_json
from bdm_core.machine.interrupts import undisturbed
from bdm_core.machine.redaction import redact, without_credentials
from bdm_core.plugin import Executor, Params
from bdm_core.run.ranks import world_size
from bdm_core.run.runner import check_name
from bdm_core.run.specification import build_params
from bdm_sweep.engine import Engine, Event, State
from bdm_sweep.graph import Task
from bdm_sweep.local_executor import LocalExecutor
from bdm_sweep.needs import Needs
from bdm_sweep.plan import Plan, plan_of
from bdm_sweep.record import SWEEPS, SweepFolder
from bdm_sweep.survey import Survey, survey


@dataclass(frozen=True)
class Summary:
    """What came of a sweep.

    Attributes:
        folder: its folder, with ``sweep.json``, ``cells.jsonl``, ``events.jsonl``.
        complete: run folders of the cells that are complete.
        failed: name of a cell -> why it failed.
        impossible: name of a cell -> why it cannot be.
        computed: how many stages this call computed.
        seconds: how long it took.
        stage_seconds: how long the stages took that it computed, together.
    """

    folder: Path
    complete: list[Path]
    failed: dict[str, str]
    impossible: dict[str, str]
    computed: int
    seconds: float
    stage_seconds: float


def sweep(
    plan: Plan | Mapping[str, Any] | list[Plan],
    *,
    out: str | Path = "runs",
    name: str | None = None,
    executor: str = "local",
    params: Mapping[str, Any] | None = None,
    command: str = "",
    on_event: Callable[[Event], None] | None = None,
) -> Summary:
    """Run every cell of a plan; each distinct stage once. Called again, it continues where it ended.

    Args:
        plan: a :class:`bdm_sweep.plan.Plan`, a mapping of its fields, or several plans to be run together.
        out: folder for the store, the run folders and ``sweeps/NAME``.
        name: what the sweep is called; by default a digest of the plan.
        executor: name of the executor, see ``bdm plugins list executor``.
        params: the executor's parameters.
        command: the command line, for the record.
        on_event: told of everything that happens: dictionaries with ``event``.

    Returns:
        What came of it. Cells that failed do not raise.

    Raises:
        BdmError: the plan is wrong, the executor cannot be used, or the store cannot be written.
    """
    checked = plan if isinstance(plan, Plan | list) else plan_of(plan)
    engine, settings = open_executor(executor, params or {})
    check_name(name)
    return carry_out(
        survey(checked, Path(out), here=engine.here), Path(out), engine, settings, Telling(name, command, on_event)
    )


@dataclass(frozen=True)
class Telling:
    """What a sweep is called, which command it was, and who is told of its progress."""

    name: str | None = None
    command: str = ""
    on_event: Callable[[Event], None] | None = None


def open_executor(name: str, params: Mapping[str, Any]) -> tuple[Executor, Params]:
    """An executor and its checked parameters; it is not opened yet.

    Raises:
        PluginError: there is none of this name, or it is broken.
        UserError: a parameter is unknown or out of range.
    """
    found = LocalExecutor() if name == LocalExecutor.name else find("executor", name).load()
    assert isinstance(found, Executor)
    return found, build_params(found, params)


def carry_out(found: Survey, out: Path, executor: Executor, params: Params, telling: Telling) -> Summary:
    """Work off what a survey found. Arguments, result and errors as for :func:`sweep`."""
    if world_size() > 1:
        raise UserError("a sweep starts its processes itself: give the command without accelerate launch or torchrun")
    plans = [without_credentials(plan.model_dump(mode="json")) for plan in found.plans]
    resolved = plans[0] if len(plans) == 1 else {"plans": plans}
    check_name(telling.name)
    name = telling.name or hashlib.sha256(canonical_json(resolved).encode()).hexdigest()[:10]
    state = State(found.graph, found.times, complete=set(found.finished))
    began, told = time.monotonic(), telling.on_event
    record: dict[str, Any] = {
        "sweep": name,
        "status": "running",
        "error": None,
        "command": redact(telling.command),
        "plan": resolved,
        "executor": executor.name,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    with SweepFolder(out / SWEEPS / name, resolved) as folder:

        def on_event(event: Event) -> None:
            if "cell" in event:
                event = {**event, "run": found.cells.possible[event["cell"]].name}
            folder.event(event)
            nonlocal told
            if told is not None:
                teller, told = told, None  # one that fails is not told again
                teller({**event, **_progress(state)})
                told = teller

        folder.write(record)
        folder.reach(found.reached)
        orders = Orders(found, out, telling.command, here=executor.here)
        try:
            on_event({"event": "sweep_started", **_counts(found)})
            executor.open(params, folder.folder)
            try:
                Engine(state, executor, orders.of, on_event).run()
            finally:
                executor.close()
            record["status"] = "failed" if state.failed else "complete"
        except BaseException as error:
            stopped = isinstance(error, KeyboardInterrupt)
            record["status"] = "interrupted" if stopped else "failed"
            record["error"] = "interrupted" if stopped else redact(str(error) or type(error).__name__)
            raise
        finally:
            with undisturbed():
                record["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
                record["seconds"] = round(time.monotonic() - began, 3)
                folder.cells(_lines(found, state))
                folder.write(record | {"cells": _totals(found, state), "computed": state.computed})
                on_event({"event": "sweep_finished", "status": record["status"], "seconds": record["seconds"]})
    cells = found.cells.possible
    return Summary(
        folder=folder.folder,
        complete=[out / cells[number].name for number in sorted(state.complete)],
        failed={cells[number].name: reason for number, reason in sorted(state.failed.items())},
        impossible={cell.name: reason for cell, reason in found.cells.impossible},
        computed=state.computed,
        seconds=record["seconds"],
        stage_seconds=round(state.seconds, 3),
    )


class Orders:
    """Makes of a task what an executor gets."""

    def __init__(self, found: Survey, out: Path, command: str, *, here: bool) -> None:
        self._found, self._out, self._command = found, str(out.resolve()), command
        self._needs = Needs(found.times, here=here)

    def of(self, task: Task) -> dict[str, Any]:
        """The JSON of a task."""
        cell = self._found.cells.possible[task.cell]
        return {
            "number": task.number,
            "what": task.what if task.label else f"the record of {cell.name}",
            "priority": round(task.priority, 3),
            "seconds": round(task.seconds, 3),
            "needs": self._needs.of(task, cell.spec),
            "out": self._out,
            "spec": cell.spec.model_dump(mode="json", exclude_defaults=True),
            "label": task.label,
            "stage": task.stage,
            "name": cell.name,
            "command": self._command,
        }


def _counts(found: Survey) -> dict[str, int]:
    return {
        "cells": len(found.cells.possible),
        "impossible": len(found.cells.impossible),
        "finished_cells": len(found.finished),
        "stages": found.stages.total(),
        "stored": found.stored.total(),
    }


def _progress(state: State) -> dict[str, Any]:
    return {
        "tasks_done": state.done,
        "tasks": len(state.graph.tasks),
        "cells_complete": len(state.complete),
        "cells_failed": len(state.failed),
        "work_left": round(state.work_left, 3),
        "stage_seconds": round(state.seconds, 3),
    }


def _totals(found: Survey, state: State) -> dict[str, int]:
    total = len(found.cells.possible)
    return {
        "total": total,
        "complete": len(state.complete),
        "failed": len(state.failed),
        "impossible": len(found.cells.impossible),
    }


def _lines(found: Survey, state: State) -> list[dict[str, Any]]:
    lines = []
    for number, cell in enumerate(found.cells.possible):
        status = "complete" if number in state.complete else "failed" if number in state.failed else "unfinished"
        lines.append(_line(cell, status, state.failed.get(number)))
    return [*lines, *(_line(cell, "impossible", reason) for cell, reason in found.cells.impossible)]


def _line(cell: Any, status: str, error: str | None) -> dict[str, Any]:
    spec = cell.spec
    facts = {"attack": spec.attack, "defense": cell.defense, "model": spec.model, "data": spec.data, "seed": spec.seed}
    return {"run": cell.name, "status": status, "error": error, **facts, "params": without_credentials(spec.params)}
