"""Tables that stay legible when the terminal is narrow: in several parts below each other, or as a list of records."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len
from rich.console import Console
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


def table(header: Sequence[str], rows: Sequence[Sequence[Text]], width: int, right: Sequence[str] = ()) -> list[Text]:
    """A table in lines of at most ``width`` columns, or no lines if some word or number would have to be cut.

    Args:
        header: names of the columns; a line break in them or in cells stays one.
        rows: their cells; those that are not set to the right wrap between words. A cell's style is that of all of it.
        width: columns of the terminal.
        right: columns of numbers, set to the right and never wrapped.
    """
    columns = [[Text(name, style="bold"), *(row[place] for row in rows)] for place, name in enumerate(header)]
    natural = [max(cell_len(part) for cell in column for part in cell.plain.split("\n")) for column in columns]
    least = [
        full if name in right else max(_longest_piece(cell.plain) for cell in column)
        for name, column, full in zip(header, columns, natural, strict=True)
    ]
    left = width - sum(least) - GAP * (len(header) - 1)
    if left < 0:
        return []
    widths = list(least)
    for place in sorted(range(len(header)), key=lambda place: natural[place] - least[place]):
        more = min(left, natural[place] - least[place])
        widths[place] += more
        left -= more
    places = [(size, name in right) for size, name in zip(widths, header, strict=True)]
    lines = [_table_row([column[index] for column in columns], places) for index in range(len(rows) + 1)]
    rule = Text("─" * (sum(widths) + GAP * (len(widths) - 1)), style="dim")
    return [*lines[0], rule, *(part for row in lines[1:] for part in row)]


def _longest_piece(text: str) -> int:
    return max(map(cell_len, re.split(r"[ \n]|(?<=\w-)(?=\w)", text)))


def _table_row(cells: list[Text], places: list[tuple[int, bool]]) -> list[Text]:
    parts = []
    for cell, (width, _) in zip(cells, places, strict=True):
        wrapped = [textwrap.wrap(part, width, break_long_words=False) or [""] for part in cell.plain.split("\n")]
        parts.append([part for lines in wrapped for part in lines])
    found = []
    for index in range(max(map(len, parts))):
        row = Text()
        for cell, lines, (width, to_the_right) in zip(cells, parts, places, strict=True):
            word = lines[index] if index < len(lines) else ""
            space = " " * (width - cell_len(word))
            row.append(" " * GAP if row else "")
            row.append(space + word if to_the_right else word + space, style=cell.style)
        row.rstrip()
        found.append(row)
    return found


def print_records(
    console: Console, header: Sequence[str], rows: Sequence[Sequence[Text]], right: Sequence[str] = ()
) -> None:
    """Print a table, or where it would cut words a list: the first cell, and below it each other one by its name."""
    lines = table(header, rows, console.width, right)
    for row in rows if not lines else []:
        lines.append(row[0])
        for name, cell in zip(header[1:], row[1:], strict=True):
            wrapped = textwrap.wrap(f"{name}: {cell.plain}", console.width - 4, break_long_words=False)
            indented = [("    " if index else "  ") + part for index, part in enumerate(wrapped if cell.plain else [])]
            lines += [Text(part, style=cell.style) for part in indented]
    for text in lines:
        console.print(text, soft_wrap=True)
