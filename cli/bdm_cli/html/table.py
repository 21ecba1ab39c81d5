"""The result table: a row for each model and condition, a column for each metric."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

from bdm_cli.html import charts, numbers
from bdm_cli.html.markup import Child, Html, table, tag
from bdm_cli.html.material import Material, metric_name, shown_name

ROWS = ("clean", "clean under trigger", "backdoored", "purified", "repaired")
WIDTH = 7
"""How many metrics fit beside each other."""
STYLES = {"backdoored": "bad", "clean": "good", "not identifiable": "open"}
WRONG = (("backdoored", "clean"), ("clean", "backdoored"))
"""Verdicts (row, word) that are errors of the detector."""
NO_DESCRIPTION = "The plugin gives no description."
DIRECTIONS = {"↑": "higher is better", "↓": "lower is better"}
CONDITIONS = {"clean": "clean inputs", "triggered": "triggered inputs"}


@dataclass
class Column:
    """One metric (on one kind of input, if a row has several) with its value for each row."""

    metric: str
    name: str
    label: str
    lines: dict[str, dict[str, Any]] = field(default_factory=dict)

    def arrow(self) -> str:
        """Where it is better for the defender; nothing if that depends on the row."""
        if self.is_verdict():
            return ""
        better = {line.get("higher_is_better") for line in self.lines.values()}
        return "↑" if better == {True} else "↓" if better == {False} else ""

    def is_verdict(self) -> bool:
        """Whether its numbers stand for a detector's words."""
        return metric_name(self.metric) == "verdict"

    def description(self) -> str:
        """What the metric means, as its plugin says."""
        found = (str(line.get("description") or "") for line in self.lines.values())
        return next((text for text in found if text), NO_DESCRIPTION)

    def values(self) -> list[float]:
        """The finite values."""
        found = (numbers.finite(line.get("value")) for line in self.lines.values())
        return [value for value in found if value is not None]

    def compares(self) -> bool:
        """Whether a scale says something: a share has one of its own, other values only beside each other."""
        return len(self.values()) > 1 or any(line.get("share") is True for line in self.lines.values())

    def span(self) -> tuple[float, float]:
        """The range that the column's error bars share: [0, 1] for shares, else from 0 to the largest."""
        values = self.values()
        if any(line.get("share") is True for line in self.lines.values()):
            return min(0.0, *values, 0.0), 1.0
        errors = [numbers.finite(line.get("stderr")) or 0.0 for line in self.lines.values()]
        return min(0.0, *values, 0.0), max(0.0, *values, 0.0) + max(errors, default=0.0)


def columns(results: list[dict[str, Any]]) -> list[Column]:
    """The metrics in the order in which they were written."""
    keys = [(str(line.get("row")), str(line.get("metric"))) for line in results]
    twice = {metric for row, metric in keys if keys.count((row, metric)) > 1}
    found: dict[tuple[str, str], Column] = {}
    for line in results:
        metric, on = str(line.get("metric")), str(line.get("on"))
        key = (metric, on if metric in twice else "")
        if key not in found:
            label = shown_name(line)
            suffix = f", {CONDITIONS[on]}" if metric in twice and on in CONDITIONS else ""
            found[key] = Column(metric, label, label + suffix)
        found[key].lines[str(line.get("row"))] = line
    return list(found.values())


def section(material: Material) -> Html | None:
    """The table and a line on each metric; None if nothing was scored."""
    cells = columns(material.results())
    if not cells:
        return None
    named = {row for column in cells for row in column.lines}
    rows = [row for row in ROWS if row in named] + sorted(named - set(ROWS))
    meanings: dict[str, list[str]] = {}
    for column in cells:
        names = meanings.setdefault(column.description(), [])
        if column.name not in names:
            names.append(column.name)
    return tag(
        "section",
        tag("h2", "Results"),
        [_table(part, rows) for part in _parts(cells)],
        tag(
            "p",
            "Value ± standard error; below it the same on a scale that the column shares. ",
            _arrows(cells),
            "Hover over a value for the number of samples.",
            class_="note",
        ),
        tag(
            "dl", [[tag("dt", "; ".join(names)), tag("dd", text)] for text, names in meanings.items()], class_="metrics"
        ),
    )


def _arrows(cells: list[Column]) -> str | None:
    """What the arrows mean that stand in the heads; None if there are none."""
    used = {column.arrow() for column in cells}
    words = [f"{arrow} {text}" for arrow, text in DIRECTIONS.items() if arrow in used]
    return f"{', '.join(words)}, as the defender sees it. " if words else None


def _parts(cells: list[Column]) -> list[list[Column]]:
    """Columns in tables that fit the page; the metrics of one plugin stay together where possible."""
    parts: list[list[Column]] = []
    for _, group in itertools.groupby(cells, key=lambda column: column.metric.partition(".")[0]):
        for column in (members := list(group)):
            room = WIDTH - len(parts[-1]) if parts else 0
            if room <= 0 or (column is members[0] and len(members) > room):
                parts.append([])
            parts[-1].append(column)
    return parts


def _table(cells: list[Column], rows: list[str]) -> Html:
    shown = [row for row in rows if any(row in column.lines for column in cells)]
    head: list[Child] = ["Model", *[_head(column) for column in cells]]
    body: list[list[Child]] = [[row, *[_cell(column, row) for column in cells]] for row in shown]
    names = ", ".join(column.label for column in cells)
    return table(head, body, class_="results", caption=f"Measurements for each model: {names}")


def _head(column: Column) -> Html:
    words = DIRECTIONS.get(arrow := column.arrow())
    sign = tag("span", arrow, class_="arrow", title=words, aria_label=words, role="img") if words else None
    return tag("th", column.label, "\u00a0" if words else None, sign, scope="col", class_="number")


def _cell(column: Column, row: str) -> Html:
    """A value; its column's name goes with it for narrow pages, where the table is a list."""
    name = f"{column.label} {column.arrow()}".strip()
    line = column.lines.get(row)
    value = numbers.finite(line.get("value")) if line else None
    if line is None:
        missing = tag("span", numbers.NONE, title="not measured for this row")
        return tag("td", missing, class_="number empty missing", data_name=name)
    if column.is_verdict() and value in (None, 0.0, 1.0):
        word = {None: "not identifiable", 0.0: "clean", 1.0: "backdoored"}[value]
        style = "bad" if (row, word) in WRONG else STYLES[word]
        return tag("td", tag("b", word, class_=style), class_="number", data_name=name)
    count = line.get("n")
    if value is None:
        title = f"undefined; n = {count}" if count else "undefined"
        return tag("td", numbers.NONE, class_="number empty", title=title, data_name=name)
    error = numbers.finite(line.get("stderr"))
    places = numbers.decimals(column.values())
    facts = [f"value {numbers.number(value)}"]
    if error is not None:
        facts.append(f"standard error {numbers.number(error)}")
    facts.append(f"n = {count}" if count is not None else "n unknown")
    low, high = column.span()
    return tag(
        "td",
        tag("span", numbers.fixed(value, places), class_="value"),
        tag("span", f" ±{numbers.fixed(error, places)}", class_="error") if error is not None else None,
        charts.error_bar(value, error, low, high) if column.compares() else None,
        class_="number",
        title="; ".join(facts),
        data_name=name,
    )
