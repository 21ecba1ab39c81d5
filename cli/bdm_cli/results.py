"""``bdm results``: the numbers of all runs in a folder as a table, CSV or JSON."""

from __future__ import annotations

import csv
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bdm_cli.console import out, print_json, warn
from bdm_cli.numbers import number

if TYPE_CHECKING:
    from bdm_cli.summary import Row


class Format(StrEnum):
    """How ``bdm results`` prints."""

    table = "table"
    csv = "csv"
    json = "json"


def results(
    folder: Annotated[Path, typer.Argument(help="Folder that bdm run --out wrote to, or one run's.", metavar="DIR")],
    output: Annotated[Format, typer.Option("--format", help="How to print.")] = Format.table,
    by_seed: Annotated[bool, typer.Option("--by-seed", help="List every seed instead of mean and deviation.")] = False,
) -> None:
    """Compare runs: a row for each cell and model, with mean ± standard deviation over the seeds."""
    from bdm_cli.summary import summarise
    from bdm_core.record import runs_in

    views = runs_in(folder)
    complete = [view for view in views if view.record["status"] == "complete"]
    if len(complete) < len(views):
        unfinished = ", ".join(view.folder.name for view in views if view not in complete)
        warn(f"left out, because they did not complete: {unfinished}")
    rows = summarise(complete, by_seed=by_seed)
    metrics = list(dict.fromkeys(metric for row in rows for metric in row.labels))
    if output is Format.json:
        print_json([_record(row, metrics) for row in rows])
    elif output is Format.csv:
        records = [_flat(row, metrics) for row in rows]
        writer = csv.DictWriter(sys.stdout, fieldnames=list(records[0]) if records else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)
    else:
        _print_tables(out(), rows, metrics)


def _record(row: Row, metrics: list[str]) -> dict[str, Any]:
    values = {
        metric: {"mean": row.mean(metric), "std": row.deviation(metric), "n": len(row.values.get(metric, []))}
        for metric in metrics
        if metric in row.labels
    }
    return {**row.cell, "row": row.row, "seeds": row.seeds, "verdict": row.verdict() or None, "metrics": values,
            "runs": row.runs}  # fmt: skip


def _flat(row: Row, metrics: list[str]) -> dict[str, Any]:
    flat: dict[str, Any] = {**row.cell, "seeds": " ".join(map(str, row.seeds)), "row": row.row}
    flat["verdict"] = row.verdict()
    for metric in metrics:
        flat[metric] = row.mean(metric)
        flat[f"{metric} std"] = row.deviation(metric)
    return flat


def _print_tables(console: Console, rows: list[Row], metrics: list[str]) -> None:
    """One table, or several below each other with the same first columns if one would be too wide."""
    fixed = _fixed_columns(rows)
    labels = {metric: next(row.labels[metric] for row in rows if metric in row.labels) for metric in metrics}
    columns = {labels[metric]: [number(row.mean(metric), row.deviation(metric)) if metric in row.labels else ""
                                for row in rows] for metric in metrics}  # fmt: skip
    if any(row.verdicts for row in rows):
        columns = {"verdict": [row.verdict() for row in rows], **columns}
    room = console.width - sum(_width(name, cells) for name, cells in fixed.items())
    blocks: list[dict[str, list[str]]] = [{}]
    left = room
    for name, cells in columns.items():
        if blocks[-1] and _width(name, cells) > left:
            blocks.append({})
            left = room
        blocks[-1][name] = cells
        left -= _width(name, cells)
    for block in blocks:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
        for name in fixed:
            table.add_column(name, no_wrap=True)
        for name in block:
            table.add_column(Text(name), justify="left" if name == "verdict" else "right", overflow="fold")
        for line in zip(*fixed.values(), *block.values(), strict=True):
            table.add_row(*map(Text, line))
        console.print(table)


def _fixed_columns(rows: list[Row]) -> dict[str, list[str]]:
    columns: dict[str, list[str]] = {}
    for name in ("attack", "detect", "repair", "model", "data"):
        cells = [row.cell[name] or "" for row in rows]
        if any(cells) and (name in ("attack", "detect") or len(set(cells)) > 1 or name == "model"):
            columns[name] = [Path(cell).name if name in ("model", "data") else cell for cell in cells]
    if columns.get("detect") and [row.cell["repair"] for row in rows] == [row.cell["detect"] for row in rows]:
        columns["defense"] = columns.pop("detect")
        columns.pop("repair", None)
    columns["seeds"] = [str(row.seeds[0]) if len(row.seeds) == 1 else f"n={len(row.seeds)}" for row in rows]
    columns["row"] = [row.row for row in rows]
    return columns


def _width(name: str, cells: list[str]) -> int:
    return 2 + max(map(cell_len, [name, *cells]))
