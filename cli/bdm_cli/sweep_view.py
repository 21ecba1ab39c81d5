"""What ``bdm sweep`` shows: the dry run, the live table while stages work, and the end."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from bdm_cli.console import one_line, printable, say
from bdm_cli.grid import print_records
from bdm_cli.numbers import seconds

if TYPE_CHECKING:
    from bdm_sweep.survey import Survey
    from bdm_sweep.sweeping import Summary

SHOWN = 12
"""So many rows of a list are shown; the rest is counted."""
LINE_SECONDS = 15.0
"""Without a terminal progress is a line every so often."""
PLAIN = ("sweep_started", "cell_failed", "sweep_finished")


def usual_workers() -> int:
    """How many workers the local executor has if nothing is said, on a machine without GPUs."""
    cores = os.cpu_count() or 1
    return min(cores, max(2, cores // 4))


def estimate(found: Survey, workers: int) -> dict[str, Any]:
    """A dry run as one JSON document: counts, impossible pairs, expected seconds."""
    from bdm_sweep.schedule import lower_bound, makespan
    from bdm_sweep.survey import by_pair

    graph, times = found.graph, found.times
    todo = [task for task in graph.tasks if task.label]
    finished = {found.cells.possible[number].name for number in found.finished}
    pairs = []
    for (attack, defense), cells in by_pair(found.cells.possible).items():
        complete = sum(cell.name in finished for cell in cells)
        pairs.append({"attack": attack, "defense": defense, "cells": len(cells), "complete": complete})
    names = sorted(found.stages, key=lambda name: -sum(task.seconds for task in todo if task.stage == name))
    return {
        "cells": len(found.cells.possible),
        "complete": len(found.finished),
        "excluded": found.cells.excluded,
        "repeated": found.cells.repeated,
        "pairs": pairs,
        "impossible": [
            {"attack": attack, "defense": defense, "reason": reason, "cells": count}
            for (attack, defense, reason), count in _impossible(found).items()
        ],
        "stages": [
            {
                "stage": name,
                "distinct": found.stages[name],
                "stored": found.stored[name],
                "seconds": round(sum(task.seconds for task in todo if task.stage == name), 3),
            }
            for name in names
        ],
        "to_compute": len(todo),
        "with_recorded_times": sum(times.known(task.stage, task.plugins) for task in todo),
        "workers": workers,
        "work_seconds": round(graph.work, 3),
        "longest_chain_seconds": round(graph.longest_chain, 3),
        "expected_seconds": round(makespan(graph, workers), 3),
        "least_seconds": round(lower_bound(graph, workers), 3),
    }


def _impossible(found: Survey) -> dict[tuple[str, str, str], int]:
    counts: dict[tuple[str, str, str], int] = {}
    for cell, reason in found.cells.impossible:
        key = (cell.spec.attack or "-", cell.defense, reason)
        counts[key] = counts.get(key, 0) + 1
    return counts


def print_dry_run(console: Console, found: Survey, document: dict[str, Any]) -> None:
    """Print what a sweep would do."""
    pairs = document["pairs"]
    rows = [[Text(str(pair[name])) for name in ("attack", "defense", "cells", "complete")] for pair in pairs]
    print_records(console, ["attack", "defense", "cells", "complete"], rows[:SHOWN], ["cells", "complete"])
    _more(console, len(rows) - SHOWN, "pairs")
    console.print()
    for item in document["impossible"][:SHOWN]:
        text = f"impossible  {item['attack']} x {item['defense']}: {one_line(item['reason'])}"
        console.print(Text(text, style="yellow"))
    _more(console, len(document["impossible"]) - SHOWN, "impossible pairs")
    if document["impossible"]:
        console.print()
    unknown = document["to_compute"] > 0 and not found.times.count
    names = ["stage", "distinct", "stored", "to do", "expected"]
    rows = [
        [
            Text(item["stage"]),
            Text(str(item["distinct"])),
            Text(str(item["stored"])),
            Text(str(item["distinct"] - item["stored"])),
            Text(seconds(item["seconds"]) if item["seconds"] and not unknown else "-"),
        ]
        for item in document["stages"]
    ]
    print_records(console, names, rows, names[1:])
    console.print()
    known, todo = document["with_recorded_times"], document["to_compute"]
    excluded = f", {document['excluded']} excluded" if document["excluded"] else ""
    repeated = f", {document['repeated']} that do the same left out" if document["repeated"] else ""
    times = [
        f"work      {seconds(document['work_seconds'])}, longest chain {seconds(document['longest_chain_seconds'])}",
        f"expected  {seconds(document['expected_seconds'])} with {document['workers']} workers",
    ]
    guess = f"this store has recorded times for {known} of them, the rest is guessed"
    if unknown:
        guess, times = "no estimate: nothing recorded yet", []
    lines = [
        f"cells     {document['cells']}, {document['complete']} complete{excluded}{repeated}",
        f"stages    {todo} to compute; {guess}",
        *times,
    ]
    for line in lines:
        console.print(Text(line))


def _more(console: Console, count: int, what: str, where: str = "--json lists") -> None:
    if count > 0:
        console.print(Text(f"... and {count} more {what} ({where} all)", style="dim"))


def _cells(count: int) -> str:
    return f"{count} cell{'s' if count > 1 else ''}"


def print_summary(console: Console, summary: Summary) -> None:
    """Print what came of a sweep; what matters most stands last."""
    reasons = Counter(summary.failed.values())
    for reason, count in reasons.most_common(SHOWN):
        console.print(Text(f"failed   {_cells(count)}: {one_line(reason)}", style="red"))
    _more(console, len(reasons) - SHOWN, "reasons", "cells.jsonl has")
    if summary.impossible:
        console.print(Text(f"{len(summary.impossible)} cells cannot be, see cells.jsonl (--dry-run says why)"))
    failed = f", {len(summary.failed)} failed" if summary.failed else ""
    console.print(Text(f"cells    {len(summary.complete)} complete{failed}"))
    worked = f"{summary.computed} computed in {seconds(summary.stage_seconds)} of work" if summary.computed else "none"
    console.print(Text(f"stages   {worked}"))
    console.print(Text(f"time     {seconds(summary.seconds)}"))
    console.print(Text(f"folder   {summary.folder}"), soft_wrap=True)


class _Progress:
    """Follows a sweep's events. ``live`` is the table of a terminal, or None for lines."""

    def __init__(self, found: Survey, live: Live | None) -> None:
        self._live = live
        self._running: dict[int, tuple[str, float]] = {}
        self._event: dict[str, Any] = {}
        self._failed: Counter[str] = Counter()
        self._began = self._said = time.monotonic()
        self._run_name = [cell.name for cell in found.cells.possible]

    def on_event(self, event: dict[str, Any]) -> None:
        """Follow one event."""
        self._event = event
        name = event["event"]
        if name == "task_started":
            self._running[event["task"]] = (event["what"], time.monotonic())
        elif name in ("task_finished", "task_failed"):
            self._running.pop(event["task"], None)
        elif name == "cell_failed":
            self._failed[one_line(event["error"])] += 1
        if self._live is None:
            self._lines(name)

    def _lines(self, name: str) -> None:
        if name == "cell_failed":
            say(f"failed: {self._event['run']}: {one_line(self._event['error'])}")
        if time.monotonic() - self._said > LINE_SECONDS:
            self._said = time.monotonic()
            say(self._head())

    def _head(self) -> str:
        event = self._event
        if "tasks" not in event:
            return "starting"
        failed = f", {event['cells_failed']} failed" if event["cells_failed"] else ""
        cells = f"cells {event['cells_complete']}/{len(self._run_name)}{failed}"
        return f"{cells}   tasks {event['tasks_done']}/{event['tasks']}   {self._left(event)}"

    def _left(self, event: dict[str, Any]) -> str:
        """Time left: the expected work over how many stages worked at a time so far."""
        now = time.monotonic()
        spent = now - self._began
        worked = event["stage_seconds"] + sum(now - since for _, since in self._running.values())
        if spent < 1 or worked <= 0 or not event["work_left"]:
            return ""
        return f"about {seconds(event['work_left'] * spent / worked)} left"

    def __rich__(self) -> Group:
        lines = [Text(printable(self._head()), style="bold", no_wrap=True, overflow="ellipsis")]
        running = list(self._running.values())
        for what, since in running[:SHOWN]:
            text = f"  {seconds(time.monotonic() - since):>12}  {what}"
            lines.append(Text(printable(text), no_wrap=True, overflow="ellipsis"))
        if len(running) > SHOWN:
            lines.append(Text(f"  and {len(running) - SHOWN} more at work", style="dim"))
        for reason, count in list(self._failed.items())[-3:]:
            text = f"  failed {_cells(count)}: {reason}"
            lines.append(Text(printable(text), style="red", no_wrap=True, overflow="ellipsis"))
        return Group(*lines)


@contextlib.contextmanager
def progress(found: Survey, *, quiet: bool) -> Iterator[_Progress]:
    """Show how far a sweep is: a live table in a terminal, lines on standard error elsewhere, nothing if quiet."""
    console = Console(stderr=True, highlight=False, quiet=quiet)
    if quiet or not (console.is_terminal and sys.stderr.isatty()):
        view = _Progress(found, None)
        if quiet:
            view._lines = lambda name: None  # type: ignore[method-assign]
        yield view
        return
    live = Live(console=console, refresh_per_second=4, transient=True, redirect_stdout=False, redirect_stderr=False)
    view = _Progress(found, live)
    live.update(view)
    with live:
        yield view
