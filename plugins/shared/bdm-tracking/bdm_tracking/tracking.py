"""Forward a run to an experiment tracker: settings at its start, losses and times as it goes on, numbers at its end.

A tracker's observer hands its hooks' arguments to a :class:`Tracking` and gives it a :class:`Writer`, which speaks to
the tracker. What reaches the writer comes from ``run.json`` and ``results.jsonl`` alone and goes through the redaction
that records go through; no artifact is read.
"""

from __future__ import annotations

import importlib.util
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from bdm_core import UserError
from bdm_core.machine.redaction import redact, without_credentials

OPTIONS = ("attack", "detect", "purify", "repair", "detectors", "model", "data", "data_share", "triggered_share")
LONGEST = 500
"""Characters that a setting has at most; MLflow refuses longer ones."""
POINTS = 500
"""So many losses of each part of a stage, about: a tracker may take a file or a request for each."""
NOT_IN_NAMES = re.compile(r"[^\w ./-]+")


class Writer(Protocol):
    """A run in a tracker."""

    def settings(self, values: dict[str, str | int | float | bool]) -> None:
        """Keep what the run was made with."""

    def number(self, name: str, value: float, step: int) -> None:
        """Keep a finite number."""

    def close(self, status: str, notes: dict[str, str]) -> None:
        """End the run.

        Args:
            status: ``complete`` or ``failed``.
            notes: verdicts by model, and the error if it failed.
        """


class Tracking:
    """One observer's run.

    After an error it is silent, so that a tracker which cannot be reached delays a run once and no more.

    Args:
        open_writer: makes the writer when a run begins, of the observer's parameters, the run's folder and its name.
    """

    def __init__(self, open_writer: Callable[[Any, Path, str], Writer]) -> None:
        self._open = open_writer
        self._writer: Writer | None = None
        self._stages = 0

    def started(self, params: Any, folder: Path, record: dict[str, Any]) -> None:
        """A run begins."""
        unfinished, self._writer, self._stages = self._writer, None, 0
        if unfinished is not None:
            unfinished.close("failed", {})
        writer = self._open(params, folder, folder.name)
        writer.settings(settings_of(record))
        self._writer = writer

    def progress(self, stage: str, label: str, place: tuple[int, int], loss: float | None) -> None:
        """Some steps are done: about 500 losses of each part of a stage are forwarded, the last one among them.

        Args:
            stage: the stage's name.
            label: what is going on.
            place: steps done, and in all.
            loss: the loss, if there is one.
        """
        done, total = place
        if done == total or done % max(1, total // POINTS) == 0:
            self._number(f"loss/{stage}/{label}" if label else f"loss/{stage}", loss, done)

    def stage(self, stage: str, seconds: float, cached: bool) -> None:
        """A stage has ended; its time is forwarded if it was computed."""
        self._stages += 1
        if not cached:
            self._number(f"seconds/{stage}", seconds, self._stages)

    def finished(self, record: dict[str, Any], results: list[dict[str, Any]]) -> None:
        """A run has ended: its numbers and verdicts."""
        for line in results:
            self._number(f"{line['row']}/{str(line['metric']).partition(':')[2]}", line.get("value"), 0)
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close(str(record.get("status")), notes_of(record))

    def _number(self, name: str, value: float | None, step: int) -> None:
        if self._writer is None or value is None or not math.isfinite(value):
            return
        try:
            self._writer.number(plain_name(name), float(value), step)
        except BaseException:
            self._writer = None
            raise


def settings_of(record: dict[str, Any]) -> dict[str, str | int | float | bool]:
    """What a run was made with: options, plugins' versions, parameters as ``KIND:NAME.PARAMETER``.

    Args:
        record: as ``run.json`` has it.

    >>> plugins = {"attack:mine": {"version": "1.0", "params": {"api_key": "k"}}}
    >>> settings_of({"spec": {"attack": "mine"}, "seed": 3, "plugins": plugins})
    {'attack': 'mine', 'seed': 3, 'attack/mine version': '1.0', 'attack/mine.api_key': '[redacted]'}
    """
    spec = record.get("spec") or {}
    found: dict[str, Any] = {name: spec.get(name) for name in OPTIONS}
    found |= {name: record.get(name) for name in ("task", "seed", "device", "git_commit")}
    for key, plugin in (record.get("plugins") or {}).items():
        if not key.startswith("observer:"):
            found[f"{key} version"] = plugin.get("version")
            found |= {f"{key}.{name}": value for name, value in (plugin.get("params") or {}).items()}
    public = without_credentials(found)
    return {plain_name(name.replace(":", "/")): _plain(value) for name, value in public.items() if value is not None}


def notes_of(record: dict[str, Any]) -> dict[str, str]:
    """Verdicts by model or detector, and the error of a run that failed."""
    notes = {f"verdict {role}": str(item.get("verdict")) for role, item in (record.get("detections") or {}).items()}
    if record.get("error"):
        notes["error"] = redact(str(record["error"]))
    return {plain_name(name): _text(text) for name, text in notes.items()}


def plain_name(name: str) -> str:
    """A name that every tracker takes.

    >>> plain_name("backdoored/target.asr@0.05")
    'backdoored/target.asr_0.05'
    """
    return NOT_IN_NAMES.sub("_", redact(name))[:200].strip()


def missing(plugin: str, engine: str, error: ImportError) -> UserError:
    """The error of an observer whose tracker is not installed."""
    return UserError(f"observer {plugin} needs {engine} ({error}): pip install 'bdm-observer-{plugin}[engine]'")


def check_installed(plugin: str, engine: str) -> None:
    """Raises UserError if a tracker, whose module is called as its observer is, is not installed. Imports nothing."""
    if importlib.util.find_spec(plugin) is None:
        raise missing(plugin, engine, ImportError(f"no module {plugin!r}"))


def _plain(value: Any) -> str | int | float | bool:
    return value if isinstance(value, bool | int | float) else _text(str(value))


def _text(text: str) -> str:
    return "".join(sign if sign.isprintable() else " " for sign in text)[:LONGEST]
