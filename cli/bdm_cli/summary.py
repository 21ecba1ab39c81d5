"""Bring the runs of a folder together: one row per cell and table row, mean and standard deviation over seeds."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bdm_cli.tables import ROWS, metric_label
from bdm_core.files import canonical_json

if TYPE_CHECKING:
    from bdm_core.run.record import RunView

ROLE_OF_ROW = {"clean": "clean", "backdoored": "backdoored", "model": "model"}
"""Rows that may carry a detector's verdict -> the role under which run.json keeps it."""

NO_PART_OF_A_CELL = frozenset({"seed", "observers", "scan_clean"})
"""What of a run's specification may differ between the runs that one row averages."""


@dataclass
class Row:
    """One row of the summary.

    Attributes:
        cell: attack, detect, repair, task, model and data.
        row: ``clean``, ``clean under trigger``, ``backdoored``, ``repaired``; ``model`` for a scan.
        runs: names of the runs behind it.
        seeds: their seeds.
        values: metric -> one value per run that has it.
        labels: metric -> its name in a table.
        verdicts: the detector's verdicts, one per run that has one.
        settings: what may tell two cells of the same plugins apart: options, and parameters as ``kind:name.parameter``.
    """

    cell: dict[str, str | None]
    row: str
    runs: list[str] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)
    values: dict[str, list[float]] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    verdicts: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)

    def mean(self, metric: str) -> float | None:
        """Mean over the runs; None if no run has a value."""
        values = self.values.get(metric)
        return statistics.fmean(values) if values else None

    def deviation(self, metric: str) -> float | None:
        """Sample standard deviation over the runs; None for fewer than two."""
        values = self.values.get(metric, [])
        return statistics.stdev(values) if len(values) > 1 else None

    def verdict(self) -> str:
        """The verdict, or how often each one was given, e.g. ``backdoored 4/5, clean 1/5``."""
        counts = Counter(self.verdicts)
        if len(self.verdicts) == 1:
            return self.verdicts[0]
        return ", ".join(f"{name} {count}/{len(self.verdicts)}" for name, count in counts.most_common())


def summarise(views: Iterable[RunView], *, by_seed: bool = False) -> list[Row]:
    """Rows over all complete runs, in order of appearance.

    Runs belong to the same cell if everything in their specification but :data:`NO_PART_OF_A_CELL` agrees, and so
    do their plugins' versions and parameters. Of several runs of one cell with the same seed the latest counts.

    Args:
        views: runs, oldest first.
        by_seed: keep every seed apart.
    """
    latest: dict[str, RunView] = {}
    for view in views:
        latest[_identity(view, with_seed=True)] = view
    rows: dict[tuple[str, str], Row] = {}
    for view in latest.values():
        key = _identity(view, with_seed=by_seed)
        for name, lines in _lines_by_row(view).items():
            row = rows.setdefault((key, name), Row(_cell(view), name, settings=_settings(view)))
            row.runs.append(view.folder.name)
            row.seeds.append(view.record["seed"])
            for line in lines:
                row.labels.setdefault(line["metric"], metric_label(line))
                if line["value"] is not None:
                    row.values.setdefault(line["metric"], []).append(line["value"])
            detection = view.record["detections"].get(ROLE_OF_ROW.get(name, ""))
            if detection is not None:
                row.verdicts.append(detection["verdict"])
    cells = list(dict.fromkeys(key for key, _ in rows))
    return [rows[key] for key in sorted(rows, key=lambda key: (cells.index(key[0]), _place(key[1])))]


def _place(row: str) -> int:
    return ROWS.index(row) if row in ROWS else len(ROWS)


def _lines_by_row(view: RunView) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for line in view.results:
        found.setdefault(line["row"], []).append(line)
    for row, role in ROLE_OF_ROW.items():
        if role in view.record["detections"]:
            found.setdefault(row, [])
    return found


def _identity(view: RunView, *, with_seed: bool) -> str:
    spec = {name: value for name, value in view.record["spec"].items() if name not in NO_PART_OF_A_CELL}
    versions = {
        name: (plugin.get("distribution"), plugin.get("version"), plugin.get("params"))
        for name, plugin in view.record["plugins"].items()
        if not name.startswith("observer:")
    }
    seed = view.record["seed"] if with_seed else None
    return canonical_json({"spec": spec, "plugins": versions, "task": view.record["task"], "seed": seed})


def _cell(view: RunView) -> dict[str, str | None]:
    spec = view.record["spec"]
    return {name: spec.get(name) for name in ("attack", "detect", "repair")} | {
        "task": view.record["task"],
        "model": spec.get("model"),
        "data": spec.get("data"),
    }


def _settings(view: RunView) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "data_share": view.record["spec"].get("data_share"),
        "triggered_share": view.record["spec"].get("triggered_share"),
        "device": view.record["spec"].get("device"),
    }
    for name, plugin in view.record["plugins"].items():
        if not name.startswith("observer:"):
            settings[f"{name} version"] = plugin.get("version")
            settings |= {f"{name}.{key}": value for key, value in (plugin.get("params") or {}).items()}
    return settings
