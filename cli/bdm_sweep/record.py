"""What a sweep leaves in ``SWEEPS/NAME``: ``sweep.json``, ``reached.json``, ``events.jsonl``, ``cells.jsonl``, logs."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Self

from bdm_core.errors import StoreError, UserError
from bdm_core.files import finite
from bdm_core.run.record import write_json
from bdm_core.store.lease import Lease
from bdm_core.store.store import report_disk_errors

SWEEPS = "sweeps"
SWEEP_RECORD = "sweep.json"
EVENTS = "events.jsonl"
CELLS = "cells.jsonl"
REACHED = "reached.json"


class SweepFolder:
    """The folder of one sweep while it runs. Another process cannot run the same sweep at the same time.

    Args:
        folder: the sweep's folder; made if it does not exist.
        plan: the resolved plan; a folder is used again for the same one alone.

    Raises:
        StoreError: another live process holds the folder, or it cannot be written.
        UserError: the folder holds another plan.
    """

    def __init__(self, folder: Path, plan: dict[str, Any]) -> None:
        self.folder = folder
        self._lease = self._claim(plan)
        self._events = (folder / EVENTS).open("a", encoding="utf-8")

    @report_disk_errors
    def _claim(self, plan: dict[str, Any]) -> Lease:
        self.folder.mkdir(parents=True, exist_ok=True)
        lease = Lease(self.folder / ".lease")
        if not lease.acquire():
            holder = lease.holder() or {}
            who = f"process {holder.get('pid', '?')} on {holder.get('host', '?')}"
            raise StoreError(f"{self.folder}: this sweep is run by {who}: wait for it, or choose another --name")
        try:
            earlier = json.loads((self.folder / SWEEP_RECORD).read_text(encoding="utf-8")).get("plan")
        except (OSError, ValueError, AttributeError):
            earlier = plan
        if earlier != plan:
            lease.release()
            raise UserError(f"{self.folder} holds another plan: choose another --name")
        return lease

    @report_disk_errors
    def write(self, record: dict[str, Any]) -> None:
        """Write ``sweep.json`` in one step."""
        write_json(self.folder / SWEEP_RECORD, record)

    @report_disk_errors
    def reach(self, keys: list[str]) -> None:
        """Write ``reached.json``: keys of finished stages that the sweep needs, so that nobody removes them."""
        write_json(self.folder / REACHED, keys)

    @report_disk_errors
    def event(self, event: dict[str, Any]) -> None:
        """Append one line to ``events.jsonl``."""
        line = json.dumps(finite({"time": round(time.time(), 3), **event}), allow_nan=False)
        self._events.write(line + "\n")
        self._events.flush()

    @report_disk_errors
    def cells(self, lines: list[dict[str, Any]]) -> None:
        """Write ``cells.jsonl``: one line for each cell."""
        path = self.folder / CELLS
        temporary = path.with_name(f".{CELLS}")
        text = "".join(json.dumps(finite(line), allow_nan=False) + "\n" for line in lines)
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)

    def close(self) -> None:
        """Give the folder back."""
        self._events.close()
        self._lease.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
