"""Bring the rows of many runs together: one row per cell and model, mean and standard deviation over seeds."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from bdm_cli.tables import ROWS, metric_label
from bdm_core.files import canonical_json

CELL = ("attack", "detect", "purify", "repair", "task", "model", "data")
"""What names a cell; the further settings tell cells of the same name apart."""
OPTIONS = ("data_share", "triggered_share", "repair_always", "device")


@dataclass
class Row:
    """One row of the summary.

    Attributes:
        cell: attack, detect, purify, repair, task, model and data.
        row: ``clean``, ``clean under trigger``, ``backdoored``, ``purified``, ``repaired``; ``model`` for a scan.
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

    def count(self, metric: str) -> int:
        """How many runs have a value."""
        return len(self.values.get(metric, []))

    def verdict(self) -> str:
        """The verdict, or how often each one was given, e.g. ``backdoored 4/5, clean 1/5``."""
        counts = Counter(self.verdicts)
        if len(self.verdicts) == 1:
            return self.verdicts[0]
        return ", ".join(f"{name} {count}/{len(self.verdicts)}" for name, count in counts.most_common())

    def parameters(self) -> dict[str, Any]:
        """The parameters, keyed by owner: ``kind:name.parameter``."""
        return {key: value for key, value in self.settings.items() if "." in key and " " not in key}

    def add(self, line: dict[str, Any]) -> None:
        """Take in one number."""
        if line["run"] not in self.runs:
            self.runs.append(line["run"])
            self.seeds.append(line["seed"])
            if line.get("verdict"):
                self.verdicts.append(line["verdict"])
        self.labels.setdefault(line["metric"], metric_label(line))
        if line["value"] is not None:
            self.values.setdefault(line["metric"], []).append(line["value"])


def summarise(lines: Iterable[dict[str, Any]], *, by_seed: bool = False) -> list[Row]:
    """Rows over all runs, in order of appearance.

    Runs belong to the same cell if their options, parameters and plugin versions agree. Of several runs of one cell
    with the same seed the latest counts.

    Args:
        lines: as from :func:`bdm_core.api.results`, oldest run first.
        by_seed: keep every seed apart.
    """
    every = [(line, _identity(line), line["run"]) for line in lines]
    latest = {(identity, line["seed"]): run for line, identity, run in every}
    rows: dict[tuple[str, str], Row] = {}
    for line, identity, run in every:
        if latest[identity, line["seed"]] != run:
            continue
        key = canonical_json([identity, line["seed"]]) if by_seed else identity
        cell = {name: line.get(name) for name in CELL}
        rows.setdefault((key, line["row"]), Row(cell, line["row"], settings=_settings(line))).add(line)
    cells = list(dict.fromkeys(key for key, _ in rows))
    return [rows[key] for key in sorted(rows, key=lambda key: (cells.index(key[0]), _place(key[1])))]


def _place(row: str) -> int:
    return ROWS.index(row) if row in ROWS else len(ROWS)


def _identity(line: dict[str, Any]) -> str:
    return canonical_json({name: line.get(name) for name in CELL} | _settings(line))


def _settings(line: dict[str, Any]) -> dict[str, Any]:
    options = {name: line.get(name) for name in OPTIONS}
    return options | {name: value for name, value in line.items() if ":" in name}
