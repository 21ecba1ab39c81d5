"""Means over seeds by group, as a list or as a grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bdm_core.errors import UserError
from bdm_results.columns import FINAL, Column, natural, row_place
from bdm_results.engines import engine
from bdm_results.intervals import Estimate
from bdm_results.results import CHOSEN, MetricFacts, Results, Selection
from bdm_results.same_data import FINGERPRINT, require_same_data

if TYPE_CHECKING:
    from pandas import DataFrame

NOT_GROUPS = ("value", "stderr", "n", "metric")
"""Columns that no group is made of: what is averaged, and what the columns of a summary are."""


@dataclass(frozen=True)
class Group:
    """The runs that agree in the columns one groups by.

    Attributes:
        key: the values of these columns.
        estimates: metric -> mean over seeds: of each seed's runs in the group the mean first, then over seeds.
        runs: how many runs are behind it.
        balanced: whether every seed has the same number of runs; else the mean over seeds mixes different runs.
    """

    key: tuple[Any, ...]
    estimates: dict[str, Estimate]
    runs: int
    balanced: bool


@dataclass(frozen=True)
class Summary:
    """A table of groups.

    Attributes:
        by: names of the columns one groups by.
        metrics: the metrics, in order.
        groups: in the order of their keys.
        row: the one row that all numbers are of, or "" where it is among the columns.
        confidence: of the intervals.
    """

    by: tuple[str, ...]
    metrics: list[MetricFacts]
    groups: list[Group]
    row: str
    confidence: float

    @property
    def warnings(self) -> list[str]:
        """What belongs beside the table."""
        mixed = sum(not group.balanced for group in self.groups)
        text = f"{mixed} of {len(self.groups)} groups do not have the same number of runs for every seed"
        return [f"{text}: their means mix what was run with what was not"] if mixed else []

    def frame(self) -> DataFrame:
        """The table as a pandas DataFrame: a row for each group and metric, with mean, ends of the interval, n.

        Raises:
            UserError: pandas is not installed.
        """
        rows = []
        for group in self.groups:
            for metric, estimate in group.estimates.items():
                low, high = estimate.interval or (None, None)
                numbers = {"mean": estimate.mean, "low": low, "high": high, "std": estimate.deviation, "n": estimate.n}
                rows.append({**dict(zip(self.by, group.key, strict=True)), "metric": metric, **numbers})
        found: DataFrame = engine("pandas").DataFrame(rows)
        return found


@dataclass(frozen=True)
class Grid:
    """One metric over two columns.

    Attributes:
        rows_by: name of the column whose values stand down.
        columns_by: name of the column whose values stand across.
        metric: the metric.
        row: the row of the result tables that the numbers are of.
        rows: values down.
        columns: values across.
        cells: (down, across) -> mean over seeds; missing where nothing was run.
        confidence: of the intervals.
        warnings: what belongs beside it, and beside all grids that were made with it.
    """

    rows_by: str
    columns_by: str
    metric: MetricFacts
    row: str
    rows: list[Any]
    columns: list[Any]
    cells: dict[tuple[Any, Any], Estimate]
    confidence: float
    warnings: list[str] = field(default_factory=list)


def summarise(results: Results, by: Sequence[str], selection: Selection) -> Summary:
    """Means over seeds for each combination of values of some columns.

    Numbers of different rows are never averaged: ``row`` is a further column unless one row is selected.

    Args:
        results: where from.
        by: names of columns or parameters.
        selection: which numbers.

    Raises:
        UserError: an unknown column, metric or row, a wrong expression, nothing is selected, or different rows stand
            under one name of data.
    """
    if not by:
        raise UserError("name at least one column to group by, e.g. attack,defense")
    names = list(dict.fromkeys(name.strip() for name in by))
    if len(selection.rows) != 1 and "row" not in names:
        names.append("row")
    columns = [_group_column(results, name) for name in names]
    source = results.numbers(selection)
    if FINGERPRINT not in names:
        require_same_data(results, CHOSEN, source)
    keys = ", ".join(f"{column.sql} AS k{place}" for place, column in enumerate(columns))
    marks = ", ".join(f"k{place}" for place in range(len(columns)))
    query = f"""{CHOSEN},
        seeds AS (SELECT {keys}, n.metric AS metric, r.seed AS seed, avg(n.value) AS value,
            count(*) AS runs {source.sql} AND n.value IS NOT NULL GROUP BY {marks}, n.metric, r.seed)
        SELECT {marks}, metric, avg(value), stddev_samp(value), count(*), sum(runs), min(runs) = max(runs)
        FROM seeds GROUP BY {marks}, metric"""
    found: dict[tuple[Any, ...], dict[str, tuple[Estimate, int, bool]]] = {}
    for line in results.ask(query, source.values):
        key, (metric, mean, deviation, n, runs, balanced) = line[: len(columns)], line[len(columns) :]
        estimate = Estimate(mean, deviation, n, selection.confidence)
        found.setdefault(key, {})[metric] = (estimate, int(runs), balanced)
    if not found:
        raise UserError("no numbers are left: nothing was run that fits what was selected")
    groups = [_group(key, found[key]) for key in sorted(found, key=lambda key: _place(key, names))]
    seen = {metric for group in groups for metric in group.estimates}
    metrics = [item for item in results.metrics() if item.name in seen]
    row = selection.rows[0] if len(selection.rows) == 1 and "row" not in names else ""
    return Summary(tuple(names), metrics, groups, row, selection.confidence)


def pivot(results: Results, rows: str, columns: str, selection: Selection) -> list[Grid]:
    """A grid of means for each metric of a selection; without a row the model as the defense leaves it (``final``).

    Raises:
        UserError: see :func:`summarise`; or both columns are the same.
    """
    if rows == columns:
        raise UserError(f"a grid needs two different columns, not {rows!r} twice")
    if "row" not in (rows, columns) and len(selection.rows) > 1:
        raise UserError("a grid is of one row: give one --row")
    if "row" not in (rows, columns) and not selection.rows:
        selection = Selection(
            where=selection.where, metrics=selection.metrics, rows=(FINAL,), confidence=selection.confidence
        )
    summary = summarise(results, [rows, columns], selection)
    grids = []
    for metric in summary.metrics:
        cells = {
            group.key[:2]: group.estimates[metric.name] for group in summary.groups if metric.name in group.estimates
        }
        down = sorted(dict.fromkeys(key[0] for key in cells), key=lambda value: _place((value,), (rows,)))
        across = sorted(dict.fromkeys(key[1] for key in cells), key=lambda value: _place((value,), (columns,)))
        found = Grid(rows, columns, metric, summary.row, down, across, cells, selection.confidence, summary.warnings)
        grids.append(found)
    return grids


def _group(key: tuple[Any, ...], found: dict[str, tuple[Estimate, int, bool]]) -> Group:
    estimates = {metric: estimate for metric, (estimate, _, _) in found.items()}
    runs = max(count for _, count, _ in found.values())
    return Group(key, estimates, runs, all(balanced for _, _, balanced in found.values()))


def _group_column(results: Results, name: str) -> Column:
    column = results.columns.find(name)
    if column.name in NOT_GROUPS:
        raise UserError(f"cannot group by {name!r}: it is no column that numbers have in common, as attack or row is")
    return column


def _place(key: Sequence[Any], names: Sequence[str]) -> tuple[Any, ...]:
    """Where a group stands: empty first, rows in the order of a result table, else numbers and texts by size."""
    sortable = [natural(value) if isinstance(value, str) else value for value in key]
    plain = [(value is not None, 0 if value is None else value) for value in sortable]
    return tuple(
        row_place(value) if name == "row" else place for name, value, place in zip(names, key, plain, strict=True)
    )
