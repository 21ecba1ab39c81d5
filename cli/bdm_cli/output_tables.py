"""A table of text and numbers, as it stands in a terminal of any width."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from typing import Any

from rich.cells import cell_len
from rich.text import Text

from bdm_cli.grid import Column, blocks, line
from bdm_cli.numbers import number
from bdm_cli.tables import wrap_label
from bdm_results.intervals import Estimate

HEADER_WIDTH = 12
"""Columns' names are wrapped to so many columns of the terminal, unless the cells below are wider."""


@dataclass(frozen=True)
class OutputTable:
    """A table.

    Attributes:
        header: the columns' names.
        rows: their cells: text, numbers, :class:`~bdm_results.intervals.Estimate`, or None.
        keys: how many columns at the left say what a row is.
        title: what it is about, or "".
        notes: what belongs below it.
    """

    header: list[str]
    rows: list[list[Any]]
    keys: int
    title: str = ""
    notes: list[str] = field(default_factory=list)

    def lines(self, width: int) -> list[Text]:
        """The table in lines of at most ``width`` columns; in several parts below each other if it is too wide."""
        found = [Text(part, style="bold") for part in textwrap.wrap(self.title, width)]
        columns = [_column(name, [cell(row[place]) for row in self.rows]) for place, name in enumerate(self.header)]
        left, right = columns[: self.keys], columns[self.keys :]
        room = max(width // 2, width - max((column.width for column in right), default=0) - 2)
        names = _names(left, room)
        if names is None:
            return [*found, *_records(self.header, columns, width), *self._notes(width)]
        for part in blocks(right, width - names.width) if right else [[]]:
            found += _heading(names, part)
            rows = [[column.cells[place] for column in part] for place in range(len(self.rows))]
            found += [Text(line(names.cells[place], names, row, part)) for place, row in enumerate(rows)]
            found.append(Text(""))
        return [*found, *self._notes(width)]

    def _notes(self, width: int) -> list[Text]:
        return [Text(part, style="dim") for note in self.notes for part in textwrap.wrap(note, width)]


def cell(value: Any) -> str:
    """A cell as a terminal shows it; an estimate with half the width of its interval and the number of seeds."""
    if isinstance(value, Estimate):
        return f"{number(value.mean, value.half_width)} ({value.n})"
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}" if value.is_integer() and abs(value) < 1e6 else number(value)
    return " ".join(str(value).split())


def _column(name: str, cells: list[str]) -> Column:
    return Column(wrap_label(name, max([HEADER_WIDTH, *map(cell_len, cells)])), cells)


def _names(columns: list[Column], room: int) -> Column | None:
    """The columns at the left as one, each cell filled up to the width of its column; None if they are too wide."""
    if sum(column.width + 2 for column in columns) - 2 > room:
        return None
    height = max(len(column.header) for column in columns)
    header = [[*[""] * (height - len(column.header)), *column.header] for column in columns]
    return Column(
        [_joined([lines[index] for lines in header], columns) for index in range(height)],
        [_joined([column.cells[place] for column in columns], columns) for place in range(len(columns[0].cells))],
    )


def _joined(cells: list[str], columns: list[Column]) -> str:
    parts = [text + " " * (column.width - cell_len(text)) for text, column in zip(cells, columns, strict=True)]
    return "  ".join(parts).rstrip()


def _heading(names: Column, part: list[Column]) -> list[Text]:
    """The lines above a part, names of columns standing at the bottom."""
    height = max([len(names.header), *(len(column.header) for column in part)])
    padded = [[*[""] * (height - len(column.header)), *column.header] for column in (names, *part)]
    found = [
        Text(line(padded[0][index], names, [lines[index] for lines in padded[1:]], part), style="bold")
        for index in range(height)
    ]
    return [*found, Text("─" * (names.width + sum(column.width + 2 for column in part)), style="dim")]


def _records(header: list[str], columns: list[Column], width: int) -> list[Text]:
    """A table that fits no other way: each row as a list."""
    found = []
    for place in range(len(columns[0].cells)):
        found += [Text(part) for part in textwrap.wrap(columns[0].cells[place], width)]
        for name, column in zip(header[1:], columns[1:], strict=True):
            text = f"  {name}: {column.cells[place]}"
            found += [Text(part) for part in textwrap.wrap(text, width, subsequent_indent="    ", initial_indent="  ")]
    return [*found, Text("")]
