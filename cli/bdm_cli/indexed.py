"""The rows of ``bdm results`` from the index: one for each cell and model, as :mod:`bdm_cli.summary` makes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bdm_cli.summary import CELL, Row
from bdm_cli.tables import ROWS, metric_label
from bdm_results.intervals import Estimate
from bdm_results.results import CHOSEN, Results, Selection, parsed


@dataclass
class IndexedRow(Row):
    """A row whose numbers the index has averaged.

    Attributes:
        estimates: metric -> mean over its runs.
    """

    estimates: dict[str, Estimate] = field(default_factory=dict)

    def mean(self, metric: str) -> float | None:
        """Mean over the runs; None if no run has a value."""
        return self.estimates[metric].mean if metric in self.estimates else None

    def deviation(self, metric: str) -> float | None:
        """Sample standard deviation over the runs; None for fewer than two."""
        return self.estimates[metric].deviation if metric in self.estimates else None

    def count(self, metric: str) -> int:
        """How many runs have a value."""
        return self.estimates[metric].n if metric in self.estimates else 0


def rows_of(results: Results, selection: Selection, *, by_seed: bool) -> list[Row]:
    """A row for each cell and model.

    Args:
        results: where from.
        selection: which numbers.
        by_seed: keep every seed apart.
    """
    source = results.numbers(selection)
    seed = "r.seed" if by_seed else "NULL"
    keys = f"r.cell AS cell, n.detector AS detector, {seed} AS seed, n.row AS row"
    who = ", ".join(f"first(r.{name}) AS {name}" for name in CELL)
    runs = results.ask(
        f"""{CHOSEN}, each AS (SELECT {keys}, r.folder AS folder, r.seed AS run_seed,
            r.started AS started, first(n.verdict) AS verdict, {who} {source.sql} GROUP BY ALL)
        SELECT cell, detector, seed, row, {", ".join(f"first({name})" for name in CELL)},
            list(folder ORDER BY started, folder), list(run_seed ORDER BY started, folder),
            list(verdict ORDER BY started, folder), min(started)
        FROM each GROUP BY cell, detector, seed, row""",
        source.values,
    )
    numbers = results.ask(
        f"""{CHOSEN} SELECT {keys}, n.metric, any_value(n.label), bool_or(n.higher_is_better), avg(n.value),
            stddev_samp(n.value), count(n.value) {source.sql} GROUP BY ALL ORDER BY min(r.started), min(n.rowid)""",
        source.values,
    )
    texts = results.ask("SELECT cell, settings FROM cells")
    settings = {cell: given if isinstance(given := parsed(text), dict) else {} for cell, text in texts}
    first: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    found: dict[tuple[Any, ...], IndexedRow] = {}
    for line in runs:
        key, cell, (folders, seeds, verdicts, began) = line[:4], line[4 : 4 + len(CELL)], line[4 + len(CELL) :]
        names = dict(zip(CELL, cell, strict=True)) | ({"detect": key[1]} if key[1] else {})
        judged = [verdict for verdict in verdicts if verdict]
        found[key] = IndexedRow(
            names, key[3], folders, seeds, verdicts=judged, settings=_own(settings.get(key[0], {}), key[1])
        )
        place = (began or "", folders[0])
        first[key[:3]] = min(first.get(key[:3], place), place)
    for line in numbers:
        row, (metric, label, better, mean, deviation, n) = found[line[:4]], line[4:]
        row.labels[metric] = metric_label({"metric": metric, "label": label, "higher_is_better": better})
        if n:
            row.estimates[metric] = Estimate(mean, deviation, n, selection.confidence)
    return [found[key] for key in sorted(found, key=lambda key: (first[key[:3]], str(key[:3]), _row_place(key[3])))]


def _own(settings: dict[str, Any], detector: str | None) -> dict[str, Any]:
    """The settings of a cell; of a scan only its detector's parameters among those of defenses."""
    if detector is None:
        return settings
    owner = f"defense:{detector}"
    return {
        name: value
        for name, value in settings.items()
        if name.startswith((f"{owner}.", f"{owner} ")) or not name.startswith("defense:")
    }


def _row_place(row: str) -> int:
    return ROWS.index(row) if row in ROWS else len(ROWS)
