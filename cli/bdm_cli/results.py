"""``bdm results``: the numbers of all runs in a folder as a table, CSV or JSON."""

from __future__ import annotations

import csv
import json
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bdm_cli.around import at_work
from bdm_cli.console import out, print_json, printable
from bdm_cli.options import Common, takes

if TYPE_CHECKING:
    from bdm_cli.summary import Row

FORMULA = ("=", "+", "-", "@")
"""A spreadsheet may run a cell of text that begins so."""


class Format(StrEnum):
    """How ``bdm results`` prints."""

    table = "table"
    csv = "csv"
    json = "json"


@dataclass(frozen=True, kw_only=True)
class ResultsOptions(Common):
    """The options of ``bdm results``."""

    folder: Annotated[Path, typer.Argument(help="Folder that bdm run --out wrote to, or one run's.", metavar="DIR")]
    output: Annotated[Format, typer.Option("--format", help="How to print.")] = Format.table
    by_seed: Annotated[bool, typer.Option("--by-seed", help="List every seed instead of mean and deviation.")] = False
    everything: Annotated[
        bool, typer.Option("--all", help="Table: also metrics without a better direction, e.g. thresholds.")
    ] = False


@takes(ResultsOptions)
def results(options: ResultsOptions) -> None:
    """Compare runs: a row for each cell and model, with mean ± standard deviation over the seeds.

    CSV and JSON also have each plugin's parameters, as KIND:NAME.PARAMETER.
    """
    from bdm_cli.comparison import lines
    from bdm_cli.summary import summarise
    from bdm_core import api

    with at_work():
        rows = summarise(api.results(options.folder), by_seed=options.by_seed)
    metrics = list(dict.fromkeys(metric for row in rows for metric in row.labels))
    if options.output is Format.json:
        print_json([_record(row, metrics) for row in rows])
    elif options.output is Format.csv:
        parameters = list(dict.fromkeys(name for row in rows for name in row.parameters()))
        _write_csv([_flat(row, metrics, parameters) for row in rows])
    else:
        console = out()
        for line in lines(rows, metrics, console.width, everything=options.everything):
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
        **row.parameters(),
        "runs": row.runs,
    }


def _flat(row: Row, metrics: list[str], parameters: list[str]) -> dict[str, Any]:
    flat: dict[str, Any] = {**row.cell, "seeds": " ".join(map(str, row.seeds)), "row": row.row}
    flat["verdict"] = row.verdict()
    for metric in metrics:
        flat[metric] = row.mean(metric)
        flat[f"{metric} std"] = row.deviation(metric)
    own = row.parameters()
    return {**flat, **{name: own.get(name) for name in parameters}, "runs": " ".join(row.runs)}


def _write_csv(records: list[dict[str, Any]]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(map(harmless, records[0] if records else []))
    for record in records:
        writer.writerow(map(harmless, record.values()))


def harmless(cell: Any) -> Any:
    """A cell of a CSV file: text that a spreadsheet would run begins with an apostrophe."""
    if isinstance(cell, list | dict):
        cell = json.dumps(cell)
    if not isinstance(cell, str):
        return cell
    risky = cell[:1] in FORMULA or ord(cell[:1] or "0") < 0x20
    return f"'{printable(cell)}" if risky else printable(cell)
