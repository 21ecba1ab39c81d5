"""Run one cell, or scan one model, and keep the record of it in a folder."""

from __future__ import annotations

import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from bdm_core.errors import BdmError, UserError
from bdm_core.machine.environment import OWN, git_commit, hardware, versions
from bdm_core.machine.interrupts import undisturbed
from bdm_core.machine.redaction import redact, without_credentials
from bdm_core.records import Detection
from bdm_core.run.cell import run_cell
from bdm_core.run.job import Finished
from bdm_core.run.preparation import Prepared, prepare
from bdm_core.run.record import RunFolder
from bdm_core.run.scan import scan_model
from bdm_core.run.specification import RunSpec
from bdm_core.run.stages import StageRunner
from bdm_core.store import paths
from bdm_core.store.stage_record import references_in
from bdm_core.store.store import Store

if TYPE_CHECKING:
    from bdm_results.view import RunView

NAME_PATTERN = re.compile(r"(?!(?:store|sweeps)$)[A-Za-z0-9][\w.-]{0,199}")
"""What a run may be called, at most 200 bytes; the folder of that name lies beside the store and the sweeps."""

LONGEST_WORDS = 120
"""A run that is not named is called after its plugins, with so many letters of their names."""

Body = Callable[[Prepared, StageRunner, RunFolder], dict[str, Detection]]
"""What a run does: its stages, and the detections by role or by detector."""


def run(spec: RunSpec, out: Path, *, name: str | None = None, command: str = "") -> RunView:
    """Run one cell of attack and defense; whatever the store already has is not computed again.

    Args:
        spec: what to run; ``spec.attack`` is set.
        out: output folder; gets ``store/`` and one folder for this run.
        name: name of the run's folder; by default time, plugins, seed and a short digest.
        command: the command line, for the record.

    Raises:
        BdmError: see :func:`bdm_core.run.preparation.prepare` and :meth:`bdm_core.run.stages.StageRunner.run`.
    """
    return in_folder(prepare(spec), out, name, command, run_cell)


def scan(spec: RunSpec, out: Path, *, name: str | None = None, command: str = "") -> RunView:
    """Judge one model with ``spec.detectors``: no attack, no secret. Arguments and errors as for :func:`run`."""
    return in_folder(prepare(spec), out, name, command, scan_model)


def check_name(name: str | None) -> None:
    """Raise UserError for what no run or sweep can be called: its folder of that name lies in the output folder."""
    if name is not None and (not NAME_PATTERN.fullmatch(name) or len(os.fsencode(name)) > 200):
        rule = "use at most 200 letters, digits, '.', '_' and '-', a letter or digit first, not 'store' or 'sweeps'"
        raise UserError(f"--name {name!r}: {rule}")


def in_folder(
    cell: Prepared, out: Path, name: str | None, command: str, body: Body, store: Store | None = None
) -> RunView:
    """Run ``body`` on a prepared cell and keep its record. Arguments and errors as for :func:`run`.

    ``store`` is that of ``out``, from a process that has used it before.
    """
    check_name(name)
    store = store or Store(out)
    store.prepare()
    stages = StageRunner(store, cell.spec.seed, cell.device, cell.kit, cell.observers)
    started = datetime.now(UTC)
    if stages.rank > 0:  # rank 0 keeps the records
        name = f".rank{stages.rank}-{os.urandom(4).hex()}"
    path = out / (name or _run_name(cell, started))
    try:
        with stages.launch:
            known, folder = path.exists(), _claim(path, cell)
            try:
                _keep_record(cell, stages, folder, started, command, body)
            except UserError:
                if not (known or folder.stages):  # refused before the first stage: nothing was done
                    shutil.rmtree(path, ignore_errors=True)
                raise
            finally:
                folder.close()
        return _view(path)
    finally:
        if stages.rank > 0:
            shutil.rmtree(path, ignore_errors=True)


def _keep_record(
    cell: Prepared, stages: StageRunner, folder: RunFolder, started: datetime, command: str, body: Body
) -> None:
    """Run ``body`` and keep ``run.json`` up to date, also if it fails or is interrupted."""
    from bdm_results.setting import as_taken  # reading runs is no part of the core

    stages.on_finished = _keeper(folder, stages.log)
    record: dict[str, Any] = {"run": folder.folder.name, "status": "running", "error": None, "command": redact(command)}
    record |= {"spec": _public(cell.spec), "task": cell.task, "started": started.isoformat(timespec="seconds")}
    record["setting"] = as_taken(cell.kit.plugin, cell.task, record["spec"])
    record["plugins"] = {
        item.id: {
            **(item.origin | {"summary": item.plugin.summary, "params": _public(item.params)}),
            **({"access": sorted(item.plugin.access)} if item in cell.defenses else {}),
            **({"least_clean_models": item.plugin.least_clean_models} if item in cell.defenses else {}),
        }
        for item in cell.all()
    }
    record["versions"] = versions({*OWN, *(name for item in cell.all() for name in item.foreign)})
    record |= {"device": cell.device, "seed": cell.spec.seed, "git_commit": git_commit(), "hardware": hardware()}
    record |= {"detections": {}, "not_checked": cell.passed_over, "notes": folder.notes}
    start = time.perf_counter()
    with _log_file(folder.folder / paths.LOG, stages.log):
        try:
            folder.write_record(record)
            folder.event("run_started", spec=record["spec"])
            stages.watching.tell("run_started", folder=folder.folder, record=record)
            detections = body(cell, stages, folder)
            record["detections"] = {role: _summary(item) for role, item in detections.items()}
            record["status"] = "complete"
        except BaseException as error:
            record |= {"status": "failed", "error": _reason(error)}
            raise
        finally:
            with undisturbed():
                record["stage_seeds"] = {entry["label"]: entry["seed"] for entry in folder.stages}
                record["seconds"] = round(time.perf_counter() - start, 3)
                record["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
                record["hardware"] = hardware()
                folder.write_record(record)
                folder.event("run_finished", status=record["status"], seconds=record["seconds"])
            stages.watching.tell("run_finished", folder=folder.folder, record=record, results=folder.results)


def _reason(error: BaseException) -> str:
    """Why a run failed, as its record has it."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return redact(str(error) if isinstance(error, BdmError) else f"{type(error).__name__}: {error}")


def _public(values: BaseModel) -> Any:
    """Options or parameters as they are written to disk."""
    return without_credentials(values.model_dump(mode="json"))


def _view(folder: Path) -> RunView:
    from bdm_results.view import RunView  # reading runs is no part of the core

    return RunView(folder)


def _claim(folder: Path, cell: Prepared) -> RunFolder:
    """The run's folder; a named one is used again only for the same run."""
    if (folder / paths.RUN_RECORD).is_file() and _view(folder).record["spec"] != _public(cell.spec):
        raise UserError(f"run folder {folder} holds another run: choose another --name")
    return RunFolder(folder)


def _keeper(folder: RunFolder, log: logging.Logger) -> Callable[[str, Finished], None]:
    def keep(label: str, finished: Finished) -> None:
        record = finished.record
        facts = {"label": label, "stage": record.stage, "key": record.key, "cached": finished.cached}
        facts |= {"seconds": record.seconds, "peak_memory_bytes": record.peak_memory_bytes}
        digests = sorted(item["digest"] for item in references_in(record.result))
        more = {"seed": record.payload.get("seed"), "digests": digests, "figures": record.figures}
        folder.stage({**facts, **more, "warnings": record.warnings})
        folder.event("stage_finished", **facts)
        log.info("%s: %.2f s%s", label, record.seconds, ", from the store" if finished.cached else "")

    return keep


def _summary(detection: Detection) -> dict[str, Any]:
    """What ``run.json`` keeps of a detection: all but the scores of single rows and the evidence."""
    score = detection.scores[0] if detection.level == "model" else None
    facts = detection.model_dump(exclude={"scores", "evidence"})
    if detection.level != "model":
        flagged = sum(score > detection.threshold for score in detection.scores)
        facts |= {"judged": len(detection.scores), "flagged": flagged}
    return {"verdict": detection.verdict, "score": score, **facts}


def _run_name(cell: Prepared, started: datetime) -> str:
    spec = cell.spec
    defenses = (spec.detect, spec.purify, spec.repair) if spec.attack else spec.detectors or ()
    chosen = [spec.attack or "scan", *dict.fromkeys(name for name in defenses if name)]
    words = "_".join(name.rpartition(":")[2] for name in chosen)[:LONGEST_WORDS]
    return f"{started:%Y-%m-%dT%H-%M-%S}_{words}_s{spec.seed}_{os.urandom(2).hex()}"


class _WithoutCredentials(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


@contextmanager
def _log_file(path: Path, log: logging.Logger) -> Iterator[None]:
    handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(_WithoutCredentials("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(min(log.level or logging.INFO, logging.INFO))
    try:
        yield
    finally:
        log.removeHandler(handler)
        handler.close()
