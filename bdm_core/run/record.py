"""What a run leaves behind: ``run.json``, ``events.jsonl``, ``stages.json``, ``results.jsonl``."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from bdm_core.errors import StoreError
from bdm_core.files import finite
from bdm_core.records import Measurement
from bdm_core.store import paths
from bdm_core.store.lease import Lease
from bdm_core.store.store import report_disk_errors
from bdm_results import earlier

SCHEMA_VERSION = 2


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
        self.notes: dict[str, str] = {}
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
        earlier.keep(self.folder)
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

    def note(self, about: str, text: str) -> None:
        """Keep one sentence for ``run.json``, e.g. why there was no repair."""
        self.notes[about] = text

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
        """Give the folder back; what it held earlier goes once the run is complete again."""
        earlier.drop(self.folder)
        self._lease.release()


def write_json(path: Path, value: Any) -> None:
    """Write JSON through a temporary file and a rename, so that a reader never sees half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    text = json.dumps(finite(value), indent=1, ensure_ascii=True, allow_nan=False)
    temporary.write_text(text + "\n", encoding="utf-8")
    temporary.replace(path)


def _append(path: Path, value: dict[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(finite(value), ensure_ascii=True, allow_nan=False) + "\n")
