"""The results of a folder of runs, from Python: what ``bdm results`` and ``bdm plot`` are made of.

::

    from bdm_results.results import Results, Selection

    results = Results("runs")
    results.frame(Selection(where="attack = 'villan'"))                # every number, as a pandas DataFrame
    summarise(results, ["defense"], Selection(metrics=("attack-success",))).frame()     # means over seeds, intervals
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bdm_core.errors import UserError, nearest
from bdm_results.columns import FINAL, NUMBER_COLUMNS, ROW_ORDER, RUN_COLUMNS, Columns, listed, name_of, quoted
from bdm_results.engines import engine
from bdm_results.expressions import Condition, parse
from bdm_results.index import index_of, printable_name
from bdm_results.intervals import CONFIDENCE
from bdm_results.rows import UNFINISHED

if TYPE_CHECKING:
    from pandas import DataFrame

NAMED = 3
"""So many unfinished runs are named in the warning about them."""
MOST_WARNINGS = 10
"""So many damaged folders are named."""
DAMAGED = "damaged"
"""The status of a run that cannot be read."""
CHOSEN = """WITH chosen AS (SELECT * FROM runs WHERE status = 'complete'
    QUALIFY row_number() OVER (PARTITION BY cell, seed ORDER BY started DESC, folder DESC) = 1)"""
"""The runs that count: complete ones, and of several of one cell with the same seed the latest."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which numbers are meant.

    Attributes:
        where: an expression as for ``--where``, see :mod:`bdm_results.expressions`; "" for all.
        metrics: a metric each: its full name, the end of it, its label, or what it measures; () for all.
        rows: names of rows; ``final`` is the model as the defense leaves it (repaired, else purified, else backdoored);
            () for all.
        confidence: of the intervals, in (0, 1).
    """

    where: str = ""
    metrics: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    confidence: float = CONFIDENCE

    def __post_init__(self) -> None:
        if not 0 < self.confidence < 1:
            raise UserError(f"the confidence is {self.confidence}: give a number between 0 and 1, e.g. 0.95")


@dataclass(frozen=True)
class MetricFacts:
    """What the numbers of one metric say of it.

    Attributes:
        name: full name, e.g. ``metric:target.asr@0.05``.
        label: how a table names it.
        higher_is_better: as the defender sees it; None for no direction.
        measures: ``attack-success``, ``utility`` or "".
        share: whether its values lie in [0, 1].
    """

    name: str
    label: str
    higher_is_better: bool | None
    measures: str
    share: bool


class Results:
    """The numbers of all complete runs in a folder, through an index that is brought up to date first.

    Args:
        folder: what ``bdm run --out`` wrote to, or one run's folder.

    Attributes:
        warnings: what was left out, and why, in a line each.
        left_out: every run that does not count: its name as ``run``, ``status`` (``damaged`` if it cannot be read) and
            ``reason``.
        columns: what can be selected and grouped by.

    Raises:
        UserError: there are no runs, or DuckDB is not installed.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._index = index_of(self.folder)
        self._mended = False
        self.left_out = self._left_out()
        self.warnings = self._warnings()
        self.columns = Columns(self._parameters())

    def ask(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Ask the index; one that turns out to be damaged is made anew, once.

        Args:
            query: SQL over the tables of :mod:`bdm_results.index`.
            values: its parameters.

        Raises:
            UserError: the question has no answer.
        """
        found: list[tuple[Any, ...]] = self._answer(query, values, "fetchall")
        return found

    def _answer(self, query: str, values: Sequence[Any], form: str) -> Any:
        duckdb = engine("duckdb")
        try:
            return getattr(self._index.execute(query, list(values)), form)()
        except (duckdb.BinderException, duckdb.ParserException, duckdb.CatalogException):
            raise
        except duckdb.Error as error:
            if self._mended or isinstance(error, duckdb.OutOfMemoryException):
                raise UserError(f"the index of {self.folder} cannot answer: {str(error).splitlines()[0]}") from None
            self._index.close()
            self._index, self._mended = index_of(self.folder, anew=True), True
            return self._answer(query, values, form)

    def numbers(self, selection: Selection) -> Condition:
        """``FROM ... WHERE ...`` for the numbers of a selection: tables ``n`` (numbers) and ``r`` (their runs).

        Raises:
            UserError: a wrong expression, an unknown column, metric or row.
        """
        parts, values = [], []
        if selection.where:
            condition = parse(printable_name(selection.where), self.columns)
            parts, values = [condition.sql], condition.values
        if selection.metrics:
            names = [self.metric(name).name for name in selection.metrics]
            parts.append(f"n.metric IN ({', '.join(map(quoted, names))})")
        if selection.rows:
            parts.append(f"({' OR '.join(map(self._row, selection.rows))})")
        return Condition(f"FROM numbers n JOIN chosen r ON n.id = r.id WHERE {' AND '.join(parts) or 'true'}", values)

    def _row(self, name: str) -> str:
        if name == FINAL:
            return "n.row = r.final"
        known = [row for (row,) in self.ask("SELECT DISTINCT row FROM numbers")]
        if name not in known:
            every = [*ROW_ORDER, FINAL]
            raise UserError(f"no row {name!r}: {nearest(name, every, f'there are {listed([*known, FINAL])}')}")
        return f"n.row = {quoted(name)}"

    def metrics(self) -> list[MetricFacts]:
        """Every metric, in the order of the runs."""
        rows = self.ask(
            "SELECT metric, first(label), bool_or(higher_is_better), first(measures), bool_or(share) FROM numbers"
            " GROUP BY metric ORDER BY min(id), metric"
        )
        return [MetricFacts(name, label_of(name, label), *rest) for name, label, *rest in rows]

    def metric(self, wanted: str) -> MetricFacts:
        """The metric that a name means: its full name, the end of it, its label, or what it measures.

        Raises:
            UserError: there is none, or there are several.
        """
        every = self.metrics()
        ways = [
            [item for item in every if item.name == wanted],
            [item for item in every if item.name.partition(".")[2] == wanted],
            [item for item in every if item.label.casefold() == wanted.casefold()],
            [item for item in every if item.measures == wanted],
        ]
        found = next((way for way in ways if way), [])
        if not found:
            names = [name for item in every for name in (item.name.partition(".")[2], item.label, item.name)]
            there = f"there are {listed(item.name.partition('.')[2] or item.name for item in every)}"
            raise UserError(f"no metric {wanted!r}: {nearest(wanted, names, there)}")
        if len(found) > 1:
            raise UserError(f"metric {wanted!r} may be {listed(item.name for item in found)}: give the whole name")
        return found[0]

    def frame(self, selection: Selection | None = None, parameters: Sequence[str] | None = None) -> DataFrame:
        """Every number of a selection as a row, with what is known of its run.

        Args:
            selection: which numbers; all of them by default.
            parameters: names of parameters that are columns; by default every one that a plugin of these runs has.

        Raises:
            UserError: see :meth:`numbers`; or pandas is not installed.
        """
        tables = engine("pandas")
        columns = [self.columns.find(name) for name in ("run", *RUN_COLUMNS, *NUMBER_COLUMNS, *(parameters or ()))]
        source = self.numbers(selection or Selection())
        fields = ", ".join(f"{column.sql} AS {name_of(column.name)}" for column in columns)
        query = f"{CHOSEN} SELECT r.cell AS cell, {fields} {source.sql} ORDER BY r.started, r.folder, n.rowid"
        found = self._answer(query, source.values, "df")
        known: dict[str, dict[str, Any]] = {}
        for cell, name, text, kind in self.ask("SELECT cell, name, text, kind FROM parameters ORDER BY name"):
            if parameters is None:
                known.setdefault(cell, {})[name] = text if kind in (None, "text") else parsed(text)
        cells = [cell for cell in found["cell"].unique() if cell in known]
        settings = tables.DataFrame([known[cell] for cell in cells], index=cells)
        joined: DataFrame = found.join(settings, on="cell").drop(columns="cell")
        return joined

    def _parameters(self) -> dict[str, str]:
        rows = self.ask(
            "SELECT name, list(DISTINCT kind) FROM parameters WHERE cell IN (SELECT cell FROM runs)"
            " GROUP BY name ORDER BY name"
        )
        kinds = {name: [kind for kind in kinds if kind is not None] for name, kinds in rows}
        return {name: found[0] if len(found) == 1 else "text" for name, found in kinds.items()}

    def require_runs(self) -> None:
        """Raise UserError if no run counts: what was asked for has no answer then."""
        ((count,),) = self.ask("SELECT count(*) FROM runs WHERE status = 'complete'")
        if not count:
            damaged = sum(item["status"] == DAMAGED for item in self.left_out)
            why = [f"{damaged} cannot be read"] if damaged else []
            why += [f"{rest} did not complete"] if (rest := len(self.left_out) - damaged) else []
            raise UserError(f"no run in {self.folder} counts: {', '.join(why)}")

    def _left_out(self) -> list[dict[str, str]]:
        rows = self.ask("SELECT folder, status, warnings FROM runs WHERE status <> 'complete' ORDER BY folder")
        return [
            {"run": folder, "status": status, "reason": _reason(status, _texts(warnings))}
            for folder, status, warnings in rows
        ]

    def _warnings(self) -> list[str]:
        rows = self.ask("SELECT folder, warnings FROM runs WHERE warnings <> '[]'")
        said = [text for _, texts in sorted(rows) for text in _texts(texts)]
        if len(said) > MOST_WARNINGS:
            said = [*said[:MOST_WARNINGS], f"{len(said) - MOST_WARNINGS} more warnings about runs are not shown"]
        damaged = sum(item["status"] == DAMAGED for item in self.left_out)
        if damaged > 1:
            said.append(f"{damaged} runs are left out, because they cannot be read")
        unfinished = [item["run"] for item in self.left_out if item["status"] != DAMAGED]
        if unfinished:
            said.append(f"left out, because they did not complete: {listed(unfinished, NAMED)}")
        return said


def _reason(status: str, warnings: list[str]) -> str:
    if status == DAMAGED:
        return (warnings or ["it cannot be read"])[0].removeprefix("left out: ")
    return UNFINISHED


def label_of(metric: str, label: str | None) -> str:
    """What a table calls a metric: its label, or the end of its name."""
    return label or metric.rpartition(":")[2].partition(".")[2] or metric


def parsed(document: str | None) -> Any:
    """JSON of the index; None if it is none, which only somebody else can have written."""
    try:
        return json.loads(document or "null")
    except (ValueError, RecursionError):
        return None


def _texts(document: str) -> list[str]:
    found = parsed(document)
    return [text for text in found if isinstance(text, str)] if isinstance(found, list) else []
