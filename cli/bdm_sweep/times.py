"""How long stages take and how much memory they need, from the stages that a store has."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from bdm_core.store import paths

LAST_TASK_SECONDS = 0.1
"""Writing a finished cell's run folder."""
MOST_RECORDS = 20_000
"""So many records are read at most: a mean needs no more."""
UNKNOWN_SECONDS = 1.0
"""What a stage is expected to take if this store has never seen one of its kind."""


class Times:
    """Means of recorded times, and largest recorded memory, by stage and plugin.

    >>> times = Times()
    >>> times.add("detect", ["defense:elijah", "kit:diffusion"], 2.0, 10**9)
    >>> times.add("detect", ["defense:elijah"], 4.0, None)
    >>> times.seconds("detect", ["defense:elijah"]), times.seconds("detect", ["defense:terd"])
    (3.0, 3.0)
    >>> times.memory("detect", ["defense:elijah"]), times.known("detect", ["defense:terd"])
    (1000000000, False)
    """

    def __init__(self) -> None:
        self._sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        self._memory: dict[str, int] = {}
        self.count = 0

    def add(self, stage: str, plugins: Any, seconds: float, memory: int | None) -> None:
        """Count one finished stage."""
        self.count += 1
        for name in (_name(stage, plugins), stage, ""):
            self._sums[name][0] += seconds
            self._sums[name][1] += 1
        if memory:
            name = _name(stage, plugins)
            self._memory[name] = max(memory, self._memory.get(name, 0))

    def known(self, stage: str, plugins: Any) -> bool:
        """Whether the very plugin's stage has a recorded time."""
        return _name(stage, plugins) in self._sums

    def seconds(self, stage: str, plugins: Any) -> float:
        """Mean time: of the plugin's stage, else of that stage of any plugin, else of all stages."""
        if stage == "run":
            return LAST_TASK_SECONDS
        for name in (_name(stage, plugins), stage, ""):
            if name in self._sums:
                total, count = self._sums[name]
                return total / count
        return UNKNOWN_SECONDS

    def memory(self, stage: str, plugins: Any) -> int:
        """Largest memory in bytes that such a stage needed; 0 if unknown."""
        return self._memory.get(_name(stage, plugins), 0)


def recorded_times(root: Path) -> Times:
    """The times in all stage records of a store; a record that cannot be read is passed over."""
    times = Times()
    for path in itertools.islice(root.glob(f"*/??/*/{paths.STAGE_RECORD}"), MOST_RECORDS):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            times.add(
                record["stage"], list(record["payload"]["plugins"]), record["seconds"], record["peak_memory_bytes"]
            )
        except (OSError, ValueError, LookupError, TypeError):
            continue
    return times


def _name(stage: str, plugins: Any) -> str:
    return f"{stage} {next(iter(plugins), '')}"
