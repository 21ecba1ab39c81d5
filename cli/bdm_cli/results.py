"""``bdm results``: the numbers of all runs in a folder as a table, CSV or JSON."""

from __future__ import annotations

import csv
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bdm_cli.console import out, print_json, warn

if TYPE_CHECKING:
    from bdm_cli.summary import Row


NAMED = 3
"""So many unfinished runs are named."""


class Format(StrEnum):
    """How ``bdm results`` prints."""

    table = "table"
    csv = "csv"
    json = "json"


def results(
    folder: Annotated[Path, typer.Argument(help="Folder that bdm run --out wrote to, or one run's.", metavar="DIR")],
    output: Annotated[Format, typer.Option("--format", help="How to print.")] = Format.table,
    by_seed: Annotated[bool, typer.Option("--by-seed", help="List every seed instead of mean and deviation.")] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Table: also metrics without a better direction, e.g. thresholds.")
    ] = False,
) -> None:
    """Compare runs: a row for each cell and model, with mean ± standard deviation over the seeds."""
    from bdm_cli.comparison import lines
    from bdm_cli.summary import summarise
    from bdm_core.run.record import runs_in

    views = runs_in(folder)
    complete = [view for view in views if view.record["status"] == "complete"]
    if len(complete) < len(views):
        unfinished = [view.folder.name for view in views if view not in complete]
        more = f" and {len(unfinished) - NAMED} more" if len(unfinished) > NAMED else ""
        warn(f"left out, because they did not complete: {', '.join(unfinished[:NAMED])}{more}")
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
        console = out()
        for line in lines(rows, metrics, console.width, everything=everything):
            console.print(line, soft_wrap=True)


def _record(row: Row, metrics: list[str]) -> dict[str, Any]:
    values = {
        metric: {"mean": row.mean(metric), "std": row.deviation(metric), "n": len(row.values.get(metric, []))}
        for metric in metrics
        if metric in row.labels
    }
    return {
        **row.cell,
        "row": row.row,
        "seeds": row.seeds,
        "verdict": row.verdict() or None,
        "metrics": values,
        "runs": row.runs,
    }


def _flat(row: Row, metrics: list[str]) -> dict[str, Any]:
    flat: dict[str, Any] = {**row.cell, "seeds": " ".join(map(str, row.seeds)), "row": row.row}
    flat["verdict"] = row.verdict()
    for metric in metrics:
        flat[metric] = row.mean(metric)
        flat[f"{metric} std"] = row.deviation(metric)
    return flat
