"""Tables that stages kept with ``ctx.figures(tables={title: {"head": [...], "rows": [[...], ...]}})``."""

from __future__ import annotations

from typing import Any

from bdm_cli.html.markup import Child, Html, table, tag
from bdm_cli.html.material import Material, mapping

MOST_TABLES, MOST_ROWS, MOST_COLUMNS, LONGEST = 24, 12, 12, 60


def section(material: Material) -> Html | None:
    """The first tables, of each the first rows; what has another form is left out."""
    drawn: list[Html | None] = []
    for entry in material.run.stages:
        for title, kept in mapping(mapping(entry.get("figures")).get("tables")).items():
            head, rows = mapping(kept).get("head"), mapping(kept).get("rows")
            if isinstance(head, list) and isinstance(rows, list) and len(drawn) < MOST_TABLES:
                drawn.append(_table(f"{entry.get('label')}, {title}", head, [row for row in rows if _fits(row, head)]))
    drawn = [item for item in drawn if item is not None]
    return tag("section", tag("h2", "Tables of stages"), drawn) if drawn else None


def _fits(row: Any, head: list[Any]) -> bool:
    return isinstance(row, list) and len(row) == len(head) > 0


def _table(title: str, head: list[Any], rows: list[list[Any]]) -> Html | None:
    if not rows:
        return None
    left_out = len(rows) - MOST_ROWS
    cells: list[list[Child]] = [[_text(cell) for cell in row[:MOST_COLUMNS]] for row in rows[:MOST_ROWS]]
    note = tag("p", f"{left_out} further rows are in stages.json.", class_="note") if left_out > 0 else None
    drawn = table([_text(cell) for cell in head[:MOST_COLUMNS]], cells, caption=title[:200])
    return tag("div", drawn, note, class_="captioned")


def _text(value: Any) -> str:
    """A cell: numbers with three decimals, "-" for what is not known."""
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)[:LONGEST]
