"""What a run leaves behind: ``run.json``, ``events.jsonl``, ``stages.json``, ``results.jsonl``; writing and reading."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from bdm_core import paths
from bdm_core.artifacts import Artifact, Measurement
from bdm_core.errors import StoreError, UserError
from bdm_core.lease import Lease
from bdm_core.store import Store, report_disk_errors

SCHEMA_VERSION = 1
NUMERICAL = ("torch", "diffusers", "transformers", "accelerate", "numpy")
"""Libraries whose version is part of every stage's key, because another version may give other numbers."""
LIBRARIES = ("bdm", *NUMERICAL, "safetensors", "torchmetrics", "pluggy", "pydantic")

_SECRET_OPTION = re.compile(r"(key|token|password|secret)[^=\s]*=(\S+)", re.IGNORECASE)


def redact(text: str) -> str:
    """Hide what looks like a credential: values of options named key, token, password or secret, and URL passwords."""
    text = _SECRET_OPTION.sub(lambda match: match.group(0).replace(match.group(2), "[redacted]"), text)
    text = re.sub(r"\b(hf|sk)[-_][A-Za-z0-9_-]{16,}", "[redacted]", text)
    return re.sub(r"://[^/\s:@]+:[^/\s@]+@", "://[redacted]@", text)


def versions(names: tuple[str, ...] = LIBRARIES) -> dict[str, str]:
    """Installed versions of the libraries that matter, without importing them."""
    found: dict[str, str] = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, JsonValue]:
    """Processor, cores and memory; GPU names if torch is loaded and sees any."""
    facts: dict[str, JsonValue] = {
        "platform": platform.platform(terse=True),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
    }
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        facts["processor"] = next(line.split(":", 1)[1].strip() for line in text.splitlines() if "model name" in line)
    except (OSError, StopIteration):
        facts["processor"] = platform.processor()
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        facts["memory_bytes"] = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        facts["gpus"] = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return facts


def git_commit() -> str | None:
    """The commit of the working folder, if it is a git checkout; with ``+`` if there are changes."""
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5)
        if head.returncode:
            return None
        status = subprocess.run(["git", "status", "--porcelain", "-uno"], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None
    return head.stdout.strip() + ("+" if status.stdout.strip() else "")


class RunFolder:
    """The folder of one run while it is being written. Another process cannot write to it at the same time.

    Args:
        folder: the run's folder; made if it does not exist.

    Raises:
        StoreError: another live process holds the folder, or it cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.results: list[dict[str, Any]] = []
        self.stages: list[dict[str, Any]] = []
        self._lease = self._open()

    @report_disk_errors
    def _open(self) -> Lease:
        self.folder.mkdir(parents=True, exist_ok=True)
        lease = Lease(self.folder / ".lease")
        if not lease.acquire():
            holder = lease.holder() or {}
            raise StoreError(
                f"run folder {self.folder} is held by process {holder.get('pid', '?')} on {holder.get('host', '?')}: "
                "wait for it to end, or choose another --name"
            )
        for name in (paths.EVENTS, paths.RESULTS, paths.LOG):
            (self.folder / name).write_text("", encoding="utf-8")
        return lease

    @report_disk_errors
    def write_record(self, record: dict[str, Any]) -> None:
        """Write ``run.json`` in one step."""
        write_json(self.folder / paths.RUN_RECORD, {"schema_version": SCHEMA_VERSION, **record})

    @report_disk_errors
    def event(self, name: str, **facts: Any) -> None:
        """Append one line to ``events.jsonl``."""
        _append(self.folder / paths.EVENTS, {"time": round(time.time(), 3), "event": name, **facts})

    @report_disk_errors
    def stage(self, entry: dict[str, Any]) -> None:
        """Keep one stage's place, time and memory in ``stages.json``."""
        self.stages.append(entry)
        write_json(self.folder / paths.STAGES, self.stages)

    @report_disk_errors
    def result(self, row: str, role: str, plugin: str, measurement: Measurement, facts: dict[str, Any]) -> None:
        """Append one number to ``results.jsonl``."""
        numbers = measurement.model_dump(mode="json")
        numbers["metric"] = f"{plugin}.{measurement.metric}"
        line = {"schema_version": SCHEMA_VERSION, **facts, "row": row, "role": role, **numbers}
        self.results.append(line)
        _append(self.folder / paths.RESULTS, line)

    def close(self) -> None:
        """Give the folder back."""
        self._lease.release()


class RunView:
    """A run as read from its folder.

    Attributes:
        folder: the run's folder.
        record: ``run.json``.
        results: the lines of ``results.jsonl``.
        stages: the entries of ``stages.json``: label, stage, key, cached, seconds, peak_memory_bytes, result, figures.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self.record: dict[str, Any] = json.loads((folder / paths.RUN_RECORD).read_text(encoding="utf-8"))
            self.results = _lines(folder / paths.RESULTS)
            stages = folder / paths.STAGES
            text = stages.read_text(encoding="utf-8") if stages.exists() else "[]"
            self.stages: list[dict[str, Any]] = json.loads(text)
        except FileNotFoundError:
            raise UserError(f"{folder} is no run folder: it has no {paths.RUN_RECORD} (see bdm results)") from None
        except ValueError as error:
            raise UserError(f"{folder} is damaged: {error}") from None
        self.store = Store(folder.parent)

    def stage(self, label: str) -> dict[str, Any] | None:
        """The entry of the stage with this label, or None."""
        return next((entry for entry in self.stages if entry["label"] == label), None)

    def result_of(self, label: str) -> Any:
        """What the stage with this label returned, artifacts opened and verified; None if there is no such stage."""
        entry = self.stage(label)
        if entry is None:
            return None
        record = self.store.read(entry["stage"], entry["key"])
        return None if record is None else self.store.decode(record.result)

    def artifact(self, label: str) -> Artifact | None:
        """Like :meth:`result_of`, for stages that return a single artifact."""
        result = self.result_of(label)
        return result if isinstance(result, Artifact) else None


def runs_in(folder: Path) -> list[RunView]:
    """Every run in a folder (or the run that the folder is), oldest first.

    Raises:
        UserError: there is none.
    """
    if (folder / paths.RUN_RECORD).is_file():
        return [RunView(folder)]
    found = [RunView(path.parent) for path in sorted(folder.glob(f"*/{paths.RUN_RECORD}"))]
    if not found:
        raise UserError(f"no runs in {folder}: give the folder that `bdm run --out` wrote to")
    return sorted(found, key=lambda run: str(run.record.get("started", "")))


def write_json(path: Path, value: Any) -> None:
    """Write JSON through a temporary file and a rename, so that a reader never sees half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(value, indent=1, ensure_ascii=True) + "\n", encoding="utf-8")
    temporary.replace(path)


def _append(path: Path, value: dict[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(value, ensure_ascii=True) + "\n")


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
