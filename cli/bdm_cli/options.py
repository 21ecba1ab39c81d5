"""The options that ``bdm run`` and ``bdm scan`` share, and what both do around a run."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bdm_cli.console import warn

if TYPE_CHECKING:
    from bdm_core.run.record import RunView
    from bdm_core.run.specification import RunSpec

PROGRESS = "progress"
"""The observer that is used if it is installed."""

Task = Annotated[str | None, typer.Option(help="Task tag, e.g. unconditional-image-generation.", metavar="TASK")]
Kit = Annotated[str | None, typer.Option("--kit", help="The task's kit, if several are installed.", metavar="NAME")]
DataReference = Annotated[
    str | None, typer.Option("--data", help="Built-in name, folder, or hf:org/name@commit.", metavar="REF")
]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", help="A plugin's parameter, e.g. attack:villan.poison_rate=0.2.", metavar="KIND:NAME.P=V"),
]
Config = Annotated[Path | None, typer.Option(help="YAML file with options; the command line wins.", metavar="FILE")]
Seed = Annotated[int | None, typer.Option(help="Seed of the whole run (default 0).")]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
Out = Annotated[Path, typer.Option(help="Folder for the store and the run folders.", metavar="DIR")]
Name = Annotated[str | None, typer.Option(help="Name of the run's folder below --out.")]
DataShare = Annotated[float | None, typer.Option(help="Share of the clean data that the defender is allowed, (0, 1].")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
NoReport = Annotated[bool, typer.Option("--no-report", help="Write no report.html.")]


def with_progress(spec: RunSpec, quiet: bool) -> RunSpec:
    """The specification with the progress observer, if it is installed, nothing else was chosen, and not ``quiet``."""
    from bdm_core.discovery.candidates import installed

    if quiet or spec.observers or not any(item.name == PROGRESS for item in installed("observer")):
        return spec
    return spec.model_copy(update={"observers": [PROGRESS]})


def write_report(view: RunView) -> Path:
    """Write ``report.html`` into the run's folder and return its path."""
    from bdm_cli.html.page import render
    from bdm_core.store.paths import REPORT

    path = view.folder / REPORT
    path.write_text(render(view), encoding="utf-8")
    return path


def document(view: RunView, report: Path | None) -> dict[str, Any]:
    """A run as one JSON document."""
    return {
        "folder": str(view.folder),
        "report": None if report is None else str(report),
        "record": view.record,
        "results": view.results,
        "stages": [{name: value for name, value in stage.items() if name != "figures"} for stage in view.stages],
    }


def leads() -> bool:
    """Whether this process prints: of those that ``accelerate launch`` started, the first one does."""
    return int(os.environ.get("RANK") or 0) == 0


class _ToTerminal(logging.Handler):
    """Prints each warning of the run once."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._seen: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if message not in self._seen:
            self._seen.add(message)
            warn(message)


@contextmanager
def warnings_on_terminal() -> Iterator[None]:
    """While this is open, warnings of the core and of plugins go to standard error as one line each."""
    log = logging.getLogger("bdm")
    handler = _ToTerminal()
    log.addHandler(handler)
    propagate, log.propagate = log.propagate, False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.propagate = propagate
