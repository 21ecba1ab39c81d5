"""Run one stage: look it up in the store, or lease it, compute it, seal it and publish it."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pluggy
from pydantic import JsonValue

from bdm_core import hooks
from bdm_core.artifacts import Artifact, Record
from bdm_core.context import Context
from bdm_core.errors import BdmError, StageError
from bdm_core.manager import scoped
from bdm_core.plugin import Params
from bdm_core.prepare import Loaded
from bdm_core.record import NUMERICAL, versions
from bdm_core.resources import peak_memory_bytes, reset_peak_memory
from bdm_core.spec import stage_seed
from bdm_core.store import StageRecord, Store, disk_error, input_digests, stage_key

POLL_SECONDS = 0.2
DISTRIBUTED_STAGES = frozenset({"inject-backdoor", "repair"})
"""Stages whose hook every process of an ``accelerate launch`` enters; in all others they wait for rank 0."""
BLIND_STAGES = frozenset({"detect", "repair"})
"""Stages whose inputs are handed over under neutral paths, so that no folder name tells where a model came from."""


@dataclass
class Finished:
    """A finished stage: what the hook returned, and its record."""

    value: Any
    record: StageRecord
    cached: bool


@dataclass
class StageRunner:
    """Runs stages against one store.

    Attributes:
        store: where results are looked up and published.
        seed: the run's seed.
        device: where hooks compute.
        kit: the task kit, whose parameters count for every stage; None in tests of single stages.
        observers: told of every stage.
        on_finished: called with (label, finished stage) after each.
    """

    store: Store
    seed: int
    device: str
    kit: Loaded | None
    observers: list[Loaded]
    on_finished: Callable[[str, Finished], None] = lambda label, finished: None
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("bdm"))
    rank: int = field(default_factory=lambda: int(os.environ.get("RANK", "0")))

    def __post_init__(self) -> None:
        self._observers = scoped(*(item.plugin for item in self.observers)) if self.rank == 0 else scoped()
        self._group = f"{os.environ.get('MASTER_ADDR', '')}:{os.environ.get('MASTER_PORT', '')}"

    def run(
        self,
        stage: str,
        plugins: list[Loaded],
        inputs: dict[str, Any],
        call: Callable[..., Any],
        *,
        label: str = "",
        identity: dict[str, Any] | None = None,
    ) -> Any:
        """The result of ``call(manager, ctx, **inputs)``, from the store if it is there.

        Args:
            stage: the stage's name; part of the key and of the seed.
            plugins: who takes part, the first one asked first; its parameters are passed on if the hook takes them.
            inputs: the hook's further arguments: artifacts, records and plain JSON.
            call: one of the functions of :mod:`bdm_core.hooks`.
            label: what the user calls this stage; the stage's name by default.
            identity: replaces inputs of the same name in the key, e.g. a path by a digest of what lies there.

        Raises:
            StageError: a plugin failed; the message names stage, plugin and error.
            BdmError: the store cannot be used, or a plugin reported a clear error of its own.
        """
        payload = self._payload(stage, plugins, {**inputs, **(identity or {})})
        key = stage_key(payload)
        label = label or stage
        finished = self._from_store(stage, key, label)
        while finished is None:
            if self.rank > 0:
                finished = self._follow(stage, key, plugins, inputs, call, label)
                continue
            with self.store.lease(key, self._group) as lease:
                if not lease.acquire():
                    self.log.debug("waiting for another process to finish %s", label)
                    time.sleep(POLL_SECONDS)
                else:  # it may have been published between the look-up and the lease
                    finished = self._from_store(stage, key, label) or self._compute(
                        stage, key, payload, plugins, inputs, call, label
                    )
                    continue
            finished = self._from_store(stage, key, label)
        self.on_finished(label, finished)
        return finished.value

    def _payload(self, stage: str, plugins: list[Loaded], inputs: dict[str, Any]) -> dict[str, Any]:
        parts = {item.id: item for item in [*plugins, *([self.kit] if self.kit else [])]}
        return {
            "stage": stage,
            "plugins": {key: item.origin for key, item in parts.items()},
            "params": {key: item.params.for_stage(stage).model_dump(mode="json") for key, item in parts.items()},
            "inputs": {name: input_digests(value) for name, value in inputs.items()},
            "seed": self._seed(stage, plugins),
            "device": self.device.partition(":")[0],
            "versions": versions(NUMERICAL),
        }

    def _seed(self, stage: str, plugins: list[Loaded]) -> int:
        return stage_seed(self.seed, stage, plugins[0].id)

    def _from_store(self, stage: str, key: str, label: str) -> Finished | None:
        record = self.store.read(stage, key)
        if record is None:
            return None
        value = self.store.decode(record.result)
        ctx = self._context(stage, self.store.root, self.store.root, 0)
        hooks.stage_started(self._observers, ctx, label, True)
        for warning in record.warnings:
            self.log.warning("%s: %s", label, warning)
        hooks.stage_finished(self._observers, ctx, label, record.seconds, True)
        return Finished(value, record, True)

    def _compute(
        self,
        stage: str,
        key: str,
        payload: dict[str, Any],
        plugins: list[Loaded],
        inputs: dict[str, Any],
        call: Callable[..., Any],
        label: str,
    ) -> Finished:
        figures: dict[str, JsonValue] = {}
        warnings = _Warnings()
        self.log.addHandler(warnings)
        try:
            folder = self.store.work_folder(key)
            out = _fresh(folder / "out")
            (folder / "work").mkdir(exist_ok=True)
            ctx = self._context(stage, out, folder / "work", self._seed(stage, plugins), label, figures)
            hooks.stage_started(self._observers, ctx, label, False)
            reset_peak_memory()
            start = time.perf_counter()
            given = _blind(inputs, folder / "inputs") if stage in BLIND_STAGES else inputs
            value = self._call(call, plugins, ctx, given, label)
            seconds = time.perf_counter() - start
            known = {item.digest: self.store.place_of(item) for item in _artifacts(list(inputs.values()))}
            record = StageRecord(
                stage=stage,
                key=key,
                payload=payload,
                result=self.store.encode(value, out=out, stage=stage, key=key, known=known),
                seconds=round(seconds, 4),
                peak_memory_bytes=peak_memory_bytes(),
                figures=figures,
                warnings=warnings.messages,
            )
            self.store.publish(record, out)
        except OSError as error:
            raise disk_error(error) from error
        finally:
            self.log.removeHandler(warnings)
        hooks.stage_finished(self._observers, ctx, label, seconds, False)
        return Finished(self.store.decode(record.result), record, False)

    def _follow(
        self,
        stage: str,
        key: str,
        plugins: list[Loaded],
        inputs: dict[str, Any],
        call: Callable[..., Any],
        label: str,
    ) -> Finished | None:
        """Rank 1 and up: take part in training while rank 0 computes, publish nothing, wait for its result."""
        holder = self.store.lease(key).holder()
        if stage in DISTRIBUTED_STAGES and holder is not None and holder.get("group") == self._group:
            folder = self.store.work_folder(f"{key}.rank{self.rank}")
            ctx = self._context(stage, _fresh(folder / "out"), self.store.work_folder(key) / "work",
                                self._seed(stage, plugins), label, {})  # fmt: skip
            self._call(call, plugins, ctx, inputs, label)
            shutil.rmtree(folder, ignore_errors=True)
            while self.store.read(stage, key) is None and self.store.lease(key).holder() is not None:
                time.sleep(POLL_SECONDS)
        time.sleep(POLL_SECONDS)
        return self._from_store(stage, key, label)

    def _call(
        self, call: Callable[..., Any], plugins: list[Loaded], ctx: Context, inputs: dict[str, Any], label: str
    ) -> Any:
        manager: pluggy.PluginManager = scoped(*(item.plugin for item in plugins))
        params: dict[str, Params] = {}
        if "params" in call.__annotations__:
            params["params"] = plugins[0].params.for_stage(ctx.stage)
        try:
            return call(manager, ctx, **params, **inputs)
        except (BdmError, OSError):
            raise
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise StageError(f"{plugins[0].id} failed while making {label!r}: {reason}") from error

    def _context(
        self,
        stage: str,
        out: Path,
        work: Path,
        seed: int,
        label: str = "",
        figures: dict[str, JsonValue] | None = None,
    ) -> Context:
        def on_progress(what: str, done: int, total: int, loss: float | None) -> None:
            hooks.stage_progress(self._observers, quiet, label, what, done, total, loss)

        def on_figures(new: dict[str, Any]) -> None:
            for name, value in new.items():
                old = (figures if figures is not None else {}).get(name)
                merged = {**old, **value} if isinstance(old, dict) and isinstance(value, dict) else value
                if figures is not None:
                    figures[name] = merged

        kit = self.kit.params.for_stage(stage) if self.kit else None
        quiet = Context(out, work, seed, self.device, stage, kit, self.log, self.rank)
        return Context(out, work, seed, self.device, stage, kit, self.log, self.rank, on_progress, on_figures)


class _Warnings(logging.Handler):
    """Keeps the warnings of one stage for its record."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage() not in self.messages:
            self.messages.append(record.getMessage())


def _fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _artifacts(value: Any) -> list[Artifact]:
    if isinstance(value, Artifact):
        return [value]
    if isinstance(value, Record):
        return [item for name in type(value).model_fields for item in _artifacts(getattr(value, name))]
    if isinstance(value, list):
        return [item for part in value for item in _artifacts(part)]
    return []


def _blind(inputs: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The same inputs, their artifacts reached through links with neutral names."""
    _fresh(folder)
    given: dict[str, Any] = {}
    for name, value in inputs.items():
        given[name] = value
        if isinstance(value, Artifact):
            link = folder / name
            link.symlink_to(value.path.resolve(), target_is_directory=True)
            given[name] = value.model_copy(update={"path": link})
    return given
