"""Tables that stay legible when the terminal is narrow: in several parts below each other, or as a list of records."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

GAP = 2
"""Spaces between two columns."""


@dataclass
class Column:
    """One column: its name in lines, and a cell for each row."""

    header: list[str]
    cells: list[str]
    width: int = field(init=False)

    def __post_init__(self) -> None:
        self.width = max(map(cell_len, [*self.header, *self.cells]))


def blocks(columns: list[Column], room: int) -> list[list[Column]]:
    """Columns in parts that are at most ``room`` wide, each with at least one column."""
    parts: list[list[Column]] = [[]]
    left = room
    for column in columns:
        if parts[-1] and column.width + GAP > left:
            parts.append([])
            left = room
        parts[-1].append(column)
        left -= column.width + GAP
    return parts


def heading(names: Column, columns: list[Column]) -> list[Text]:
    """The lines above a part: the columns' names and a rule."""
    found = []
    for index in range(max((len(column.header) for column in columns), default=0)):
        words = [column.header[index] if index < len(column.header) else "" for column in columns]
        found.append(Text(line("", names, words, columns), style="bold"))
    found.append(Text("─" * (names.width + sum(column.width + GAP for column in columns)), style="dim"))
    return found


def line(name: str, names: Column, cells: list[str], columns: list[Column]) -> str:
    """One row of a part: its name, then the cells, set to the right."""
    parts = [name + " " * (names.width - cell_len(name))]
    parts += [" " * (GAP + column.width - cell_len(cell)) + cell for column, cell in zip(columns, cells, strict=True)]
    return "".join(parts).rstrip()


def plain_table(header: Sequence[str], rows: Sequence[Sequence[Text]], right: Sequence[str] = ()) -> Table:
    """A table whose cells wrap between words.

    Args:
        header: names of the columns.
        rows: their cells.
        right: columns of numbers.
    """
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="bold")
    for name in header:
        table.add_column(name, justify="right" if name in right else "left", no_wrap=name in right)
    for row in rows:
        table.add_row(*row)
    return table


def print_records(
    console: Console, header: Sequence[str], rows: Sequence[Sequence[Text]], right: Sequence[str] = ()
) -> None:
    """Print a table, or where it would cut words a list: the first cell, and below it each other one by its name."""
    table = plain_table(header, rows, right)
    if Measurement.get(console, console.options, table).minimum <= console.width:
        console.print(table)
        return
    for row in rows:
        console.print(row[0], soft_wrap=True)
        for name, cell in zip(header[1:], row[1:], strict=True):
            if cell.plain:
                text = textwrap.wrap(f"{name}: {cell.plain}", console.width - 4, break_long_words=False)
                for index, part in enumerate(text):
                    console.print(Text(("    " if index else "  ") + part), style=cell.style, soft_wrap=True)
