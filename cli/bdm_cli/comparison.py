"""The table of ``bdm results``: a heading for each cell, its models below it, metrics across, as wide as there is room.

Rich's tables have no headings within, hence the lines are put together here.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from itertools import groupby
from typing import Any

from rich.cells import cell_len
from rich.text import Text

from bdm_cli.grid import Column, blocks, heading, line
from bdm_cli.numbers import ARROWS, number
from bdm_cli.run_models import short_name
from bdm_cli.summary import Row
from bdm_cli.tables import ARROWS_MEAN, wrap_label
from bdm_cli.verdict_words import shown

HEADER_WIDTH = 10
"""Metrics' names are wrapped to so many columns, unless the numbers below are wider or a word is longer."""
MOST_SETTINGS = 6
"""So many settings at most are listed to tell two cells of the same plugins apart."""
ROW_NAMES = {"clean under trigger": "  under trigger"}


def lines(rows: list[Row], metrics: list[str], width: int, *, everything: bool = False) -> list[Text]:
    """The table in lines of at most ``width`` columns; several tables below each other if one would be too wide.

    Args:
        rows: as from :func:`bdm_cli.summary.summarise`.
        metrics: names of the metrics, in order.
        width: columns of the terminal.
        everything: also metrics without a better direction (scores, thresholds), which csv and json always have.
    """
    chosen = metrics if everything else [name for name in metrics if compares(name, rows)] or metrics
    columns = [Column(["verdict"], [shown(row.verdict()) for row in rows])] if any(row.verdicts for row in rows) else []
    columns += [_column(name, rows) for name in chosen]
    names = Column([""], [f"  {ROW_NAMES.get(row.row, row.row)}" for row in rows])
    titles = _titles(rows)
    found: list[Text] = []
    for block in blocks(columns, width - names.width):
        found += [*_block(names, block, titles, width), Text("")]
    left_out = ", ".join(" ".join(_label(name, rows).split()) for name in metrics if name not in chosen)
    if left_out:
        found += [Text(part, style="dim") for part in textwrap.wrap(f"--all also shows: {left_out}", width)]
    if any(column.header != ["verdict"] for column in columns):
        found += [Text(part, style="dim") for part in textwrap.wrap(ARROWS_MEAN, width)]
    return found


def compares(metric: str, rows: list[Row]) -> bool:
    """Whether a metric says which model is better, other than by the verdict, which has a column of its own."""
    if metric.rpartition(".")[2] == "verdict" and any(row.verdicts for row in rows):
        return False
    return _label(metric, rows).endswith((ARROWS[True], ARROWS[False]))


def _label(metric: str, rows: list[Row]) -> str:
    return next(row.labels[metric] for row in rows if metric in row.labels)


def _column(metric: str, rows: list[Row]) -> Column:
    cells = [number(row.mean(metric), row.deviation(metric)) if metric in row.labels else "" for row in rows]
    return Column(wrap_label(_label(metric, rows), max([HEADER_WIDTH, *map(cell_len, cells)])), cells)


def _block(names: Column, columns: list[Column], titles: list[str], width: int) -> list[Text]:
    found = heading(names, columns)
    for title, group in groupby(range(len(titles)), key=lambda place: titles[place]):
        places = [place for place in group if any(column.cells[place] for column in columns)]
        if places:
            found += [Text(text, style="bold") for text in textwrap.wrap(title, width, subsequent_indent="    ")]
        for place in places:
            cells = [column.cells[place] for column in columns]
            found.append(Text(line(names.cells[place], names, cells, columns)))
    return found


def _titles(rows: list[Row]) -> list[str]:
    """Each row's cell in words: who, how often, and the settings that tell it from others with the same plugins."""
    names = [_name(row) for row in rows]
    twins: dict[str, dict[int, dict[str, Any]]] = {}
    for name, row in zip(names, rows, strict=True):
        twins.setdefault(name, {})[id(row.settings)] = row.settings
    varied = {name: _varied(list(settings.values())) for name, settings in twins.items()}
    titles = []
    for name, row in zip(names, rows, strict=True):
        facts = [f"{key.rpartition('.')[2]}={_brief(row.settings.get(key))}" for key in varied[name]]
        more = [f"{len(facts) - MOST_SETTINGS} more"] if len(facts) > MOST_SETTINGS else []
        seeds = f"seed {row.seeds[0]}" if len(row.seeds) == 1 else f"{len(row.seeds)} seeds"
        titles.append(", ".join([name, seeds, *facts[:MOST_SETTINGS], *more]))
    return titles


def _varied(every: list[dict[str, Any]]) -> list[str]:
    """The settings in which cells of the same name differ."""
    names = sorted({key for settings in every for key in settings}) if len(every) > 1 else []
    return [key for key in names if _differs(key, every[0], every)]


def _differs(key: str, own: dict[str, Any], others: Iterable[dict[str, Any]]) -> bool:
    return any(other.get(key) != own.get(key) for other in others)


def _name(row: Row) -> str:
    cell = row.cell
    defenses = {cell["detect"], cell["repair"], cell["purify"] or cell["detect"]}
    parts = [cell["attack"] or "scan"]
    if len(defenses) == 1 and cell["detect"]:
        parts.append(f"defense {cell['detect']}")
    else:
        words = {"detect": "detection", "purify": "purification", "repair": "repair"}
        parts += [f"{word} {cell[key]}" for key, word in words.items() if cell[key]]
    parts += [f"{key} {short_name(name)}" for key in ("model", "data") if (name := cell[key])]
    return ", ".join(parts)


def _brief(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 24 else f"{text[:23]}…"
