"""What the commands do around the work: progress, warnings, the report, one JSON document."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bdm_cli.console import foreign_code, warn
from bdm_core.machine.foreign import text_of

if TYPE_CHECKING:
    from bdm_cli.options import Running
    from bdm_core.discovery.candidates import Candidate
    from bdm_results.view import RunView

PROGRESS = "progress"
"""The observer that is used if it is installed."""


def specification(options: Running, given: dict[str, Any]) -> dict[str, Any]:
    """The fields of the run's specification that are not left at their defaults: YAML, options, ``--set`` items.

    The progress observer is added if it is installed, the YAML file chooses no observers, and progress is wanted.

    Raises:
        UserError: see :func:`bdm_cli.specification.load_specification`.
    """
    from bdm_cli.specification import load_specification
    from bdm_core.discovery.candidates import installed

    spec = load_specification(options.config, {**options.given(), **given}, options.sets or [])
    fields = spec.model_dump(exclude_unset=True)
    chosen_in_file = spec.observers and not options.observer
    wanted = not (options.quiet or options.as_json or chosen_in_file or PROGRESS in spec.observers)
    if wanted and _works(next((item for item in installed("observer") if item.name == PROGRESS), None)):
        fields["observers"] = [*spec.observers, PROGRESS]
    return fields


def _works(observer: Candidate | None) -> bool:
    """Whether an observer that nobody asked for is there and can be loaded; a broken one is worth a warning only."""
    from bdm_core.errors import PluginError

    try:
        if observer is not None and observer.allowed():
            with foreign_code():
                observer.load()
            return True
    except PluginError as error:
        warn(str(error))
    return False


def write_report(view: RunView) -> Path:
    """Write ``report.html`` into the run's folder and return its path.

    Raises:
        UserError: it cannot be written.
    """
    from bdm_cli.html.page import render
    from bdm_core.errors import UserError
    from bdm_core.store.paths import REPORT

    path = view.folder / REPORT
    with foreign_code():
        text = render(view)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8", errors="replace")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UserError(f"cannot write {path}: {error.strerror or error}; the rest of the run is kept") from None
    return path


class Failures:
    """What went wrong beside an answer that is printed all the same."""

    def __init__(self) -> None:
        self.first: Exception | None = None

    def of(self, write: Callable[[RunView], Path], view: RunView) -> Path | None:
        """What ``write`` returns, or None if it failed with an expected error."""
        from bdm_core.errors import BdmError

        try:
            return write(view)
        except BdmError as error:
            self.first = self.first or error
            return None


@contextmanager
def answer_first() -> Iterator[Failures]:
    """While this is open, what :class:`Failures` collects does not stop the answer; afterwards it is raised."""
    failures = Failures()
    yield failures
    if failures.first is not None:
        raise failures.first


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
    from bdm_core.run.ranks import rank

    return rank() == 0


class _ToTerminal(logging.Handler):
    """Prints each warning once."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._seen: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        message = text_of(record)
        if message not in self._seen:
            self._seen.add(message)
            warn(message)


@contextmanager
def at_work() -> Iterator[None]:
    """While this is open, plugins work: warnings of bdm and of plugins go to standard error as one line each, and so
    does what plugins print.
    """
    log = logging.getLogger("bdm")
    handler = _ToTerminal()
    log.addHandler(handler)
    propagate, log.propagate = log.propagate, False
    try:
        with foreign_code():
            yield
    finally:
        log.removeHandler(handler)
        log.propagate = propagate
