"""Read one run's folder into the records of the index. Nothing in it is trusted: what has a wrong type is left out."""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bdm_core.errors import UserError
from bdm_core.files import canonical_json, finite
from bdm_results.columns import FINAL_ROWS, NUMBER_COLUMNS, RUN_COLUMNS, defense_of
from bdm_results.earlier import name_of
from bdm_results.fingerprints import objection
from bdm_results.rows import facts_of, rows_of
from bdm_results.view import RunView

LONGEST_TEXT = 2000
"""Characters that a text of a record may have in the index; what is longer is cut."""
LARGEST_INTEGER = 2**63
OTHERS = {"defense": ("detect", "purify", "repair"), "attack": ("attack",)}
IDENTITY = ("attack", "detect", "purify", "repair", "task", "model", "data")
OPTIONS = ("data_share", "triggered_share", "repair_always", "device")


@dataclass
class ReadRun:
    """One run as the index keeps it.

    Attributes:
        status: as in ``run.json``; ``damaged`` for a folder that cannot be read.
        warnings: what to tell the user about the folder, a line each.
        facts: the columns of the table ``runs``.
        settings: options and ``KIND:NAME.PARAMETER``, which with some of the facts tell one cell from another.
        numbers: rows of the table ``numbers``, a dictionary each.
    """

    status: str
    warnings: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    numbers: list[dict[str, Any]] = field(default_factory=list)

    @functools.cached_property
    def cell(self) -> str:
        """A name for all that tells runs apart but their seeds."""
        return self._named(IDENTITY, (*OPTIONS, *(name for name in self.settings if ":" in name)))

    @property
    def besides(self) -> dict[str, str]:
        """Names for all that runs have in common beside their defense, or their attack, and how they are measured."""
        plugins = {name: name.partition(":")[0] for name in self.settings if ":" in name}
        kept = {other: [name for name, kind in plugins.items() if kind not in (other, "metric")] for other in OTHERS}
        return {
            f"beside_{other}": self._named(
                tuple(name for name in IDENTITY if name not in columns),
                (*(name for name in OPTIONS if other == "attack" or name != "repair_always"), *kept[other]),
            )
            for other, columns in OTHERS.items()
        }

    def _named(self, columns: tuple[str, ...], settings: tuple[str, ...]) -> str:
        identity = {name: self.facts.get(name) for name in columns}
        rest = {name: self.settings.get(name) for name in settings}
        return hashlib.sha256(canonical_json([identity, rest]).encode()).hexdigest()[:24]


def read_run(folder: Path) -> ReadRun:
    """Read a run's folder; one that cannot be read has the status ``damaged`` and says why in a warning.

    Warnings name the folder without what is above it.
    """
    run = _read(folder)
    run.warnings = [clean(text.replace(str(folder), name_of(folder)))[:LONGEST_TEXT] for text in run.warnings]
    return run


def _read(folder: Path) -> ReadRun:
    reason = objection(folder)
    if reason:
        return ReadRun("damaged", [f"left out: {reason}"])
    with _warnings() as said:
        try:
            view = RunView(folder)
            run = ReadRun(view.record["status"], said, *_facts(view))
            run.numbers = [_number_of(line, run.facts) for line in rows_of(view)] if run.status == "complete" else []
        except UserError as error:
            return ReadRun("damaged", [f"left out: {error}"])
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            return ReadRun("damaged", [f"left out: {folder} is damaged: {type(error).__name__}: {error}"])
    rows = {number["row"] for number in run.numbers}
    run.facts["final"] = next((row for row in FINAL_ROWS if row in rows), None)
    return run


def _facts(view: RunView) -> tuple[dict[str, Any], dict[str, Any]]:
    """The run's columns and its settings.

    Raises:
        ValueError: a column has a value of another type.
    """
    every = facts_of(view) | {"started": view.record.get("started")}
    facts = {}
    for name, kind in RUN_COLUMNS.items():
        value = defense_of(every) if name == "defense" else every.get(name)
        facts[name] = typed(value, kind)
        if value is not None and facts[name] is None:
            raise ValueError(f"{name} is no {kind}")
    settings = {name: every[name] for name in OPTIONS}
    settings |= {clean(name): _setting(value) for name, value in every.items() if ":" in name}
    return facts, settings


def _number_of(line: dict[str, Any], facts: dict[str, Any]) -> dict[str, Any]:
    number = {name: typed(line.get(name), kind) for name, kind in NUMBER_COLUMNS.items()}
    number["detector"] = typed(line.get("detect"), "text") if facts["attack"] is None else None
    return number


def typed(value: Any, kind: str) -> Any:
    """A value of a record as ``text``, ``number``, ``integer`` or ``boolean``; None if it is none."""
    if value is None:
        return None
    if kind == "text":
        return clean(value)[:LONGEST_TEXT] if isinstance(value, str) else None
    if isinstance(value, bool):
        return value if kind == "boolean" else None
    if kind == "number" and isinstance(value, int | float):
        try:
            number = float(value)
        except OverflowError:
            return None
        return number if math.isfinite(number) else None
    if kind == "integer" and isinstance(value, int):
        return value if abs(value) < LARGEST_INTEGER else None
    return None


def clean(text: str) -> str:
    """A text without surrogates, which no file can hold, and without zero characters."""
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\x00")


def _setting(value: Any) -> Any:
    """A parameter's value as JSON has it, of bounded length."""
    if value is None or isinstance(value, bool) or (isinstance(value, int) and abs(value) < LARGEST_INTEGER):
        return value
    if isinstance(value, str):
        return clean(value)[:LONGEST_TEXT]
    if isinstance(value, float) and math.isfinite(value):
        return value
    text = clean(json.dumps(finite(value), default=str))
    return text[:LONGEST_TEXT] if len(text) > LONGEST_TEXT else json.loads(text)


@contextmanager
def _warnings() -> Iterator[list[str]]:
    """The warnings that the logger ``bdm`` gets while this is open, which then reach nobody else."""
    said: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage() not in said:
                said.append(record.getMessage())

    log = logging.getLogger("bdm")
    keep, handlers, propagate = Keep(logging.WARNING), log.handlers, log.propagate
    log.handlers, log.propagate = [keep], False
    try:
        yield said
    finally:
        log.handlers, log.propagate = handlers, propagate
