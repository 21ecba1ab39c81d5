"""``bdm results``: the numbers of all runs in a folder: tables, groups, grids, comparisons, ranks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bdm_cli.analysis_options import Choosing, Format, format_of, names
from bdm_cli.around import at_work
from bdm_cli.console import out, print_lines, warn_of
from bdm_cli.options import takes
from bdm_results.columns import Pairs

if TYPE_CHECKING:
    from bdm_cli.output_tables import OutputTable
    from bdm_cli.summary import Row

LeftOut = list[dict[str, str]]
"""Every run that does not count: ``run``, ``status``, ``reason``."""
ANALYSES = ("group_by", "pivot", "compare", "ranks")


@dataclass(frozen=True, kw_only=True)
class ResultsOptions(Choosing):
    """The options of ``bdm results``."""

    group_by: Annotated[
        str | None, typer.Option(help="Means over seeds for each value of these columns.", metavar="COLUMN,...")
    ] = None
    pivot: Annotated[
        str | None, typer.Option(help="A grid, e.g. attack,defense: down and across.", metavar="COLUMN,COLUMN")
    ] = None
    compare: Annotated[
        str | None, typer.Option(help="Two defenses: Wilcoxon's test, corrected by Holm.", metavar="A,B")
    ] = None
    pairs: Annotated[Pairs, typer.Option(help="--compare: a pair is an attack's setting, or each of its seeds.")] = (
        Pairs.settings
    )
    ranks: Annotated[
        str | None, typer.Option(help="Rank all of defense or attack: Friedman, Nemenyi.", metavar="COLUMN")
    ] = None
    given_format: Annotated[
        Format | None, typer.Option("--format", help="How to print (default: by FILE's suffix, or a table).")
    ] = None
    file: Annotated[Path | None, typer.Option("--output", help="Write to a file.", metavar="FILE")] = None
    by_seed: Annotated[bool, typer.Option("--by-seed", help="List every seed instead of mean and deviation.")] = False
    everything: Annotated[
        bool, typer.Option("--all", help="Table: also metrics without a better direction, e.g. thresholds.")
    ] = False

    @property
    def output(self) -> Format:
        """How to print. Raises UserError as :func:`bdm_cli.analysis_options.format_of` does."""
        return format_of(self.given_format, self.file)


@takes(ResultsOptions)
def results(options: ResultsOptions) -> None:
    """Compare runs: a row for each cell and model, with mean ± standard deviation over the seeds.

    CSV and JSON also have each plugin's parameters, as KIND:NAME.PARAMETER. --group-by, --pivot, --compare and --ranks
    give other tables.
    """
    from bdm_core.errors import UserError
    from bdm_results.engines import installed

    chosen = [name for name in ANALYSES if getattr(options, name) is not None]
    if len(chosen) > 1:
        raise UserError(f"{' and '.join('--' + name.replace('_', '-') for name in chosen[:2])}: choose one of them")
    if chosen and options.by_seed:
        raise UserError(f"--by-seed does not go with --{chosen[0].replace('_', '-')}: to see seeds group by seed")
    if chosen:
        from bdm_cli.output_formats import deliver

        left_out, tables = _analysis(chosen[0], options)
        deliver(tables, options.output, options.file, left_out)
    elif installed("duckdb", "pyarrow") or options.selects():
        left_out, rows = _indexed_rows(options)
        _plain(rows, options, left_out)
    else:
        from bdm_cli.summary import summarise
        from bdm_core import api
        from bdm_results.rows import left_out_in

        with at_work():
            rows = summarise(api.results(options.folder), by_seed=options.by_seed)
        if not rows:
            raise UserError(f"no run in {options.folder} counts: none is complete")
        _plain(rows, options, left_out_in(options.folder) if options.output is Format.json else [])


def _analysis(name: str, options: ResultsOptions) -> tuple[LeftOut, list[OutputTable]]:
    """What was left out, and the tables of --group-by, --pivot, --compare or --ranks."""
    from bdm_cli.analysis import of_comparisons, of_grid, of_ranking, of_summary
    from bdm_core.errors import UserError
    from bdm_results.paired import compare
    from bdm_results.ranking import rank
    from bdm_results.results import Results
    from bdm_results.summaries import pivot, summarise

    selection, option = options.selection(), f"--{name.replace('_', '-')}"
    given = names(getattr(options, name), option)
    found = Results(options.folder)
    warn_of(found.warnings)
    found.require_runs()
    if name == "group_by":
        summary = summarise(found, given, selection)
        warn_of(summary.warnings)
        return found.left_out, [of_summary(summary)]
    if name == "pivot":
        if len(given) != 2:
            raise UserError("--pivot takes two columns, e.g. attack,defense")
        grids = pivot(found, given[0], given[1], selection)
        warn_of(grids[0].warnings)
        return found.left_out, [of_grid(grid) for grid in grids]
    if name == "compare":
        compared = compare(found, given, selection, options.pairs)
        return found.left_out, [of_comparisons(compared, given, options.pairs, selection.confidence)]
    (column,) = given if len(given) == 1 else [""]
    return found.left_out, [of_ranking(ranking, column) for ranking in rank(found, column, selection)]


def _indexed_rows(options: ResultsOptions) -> tuple[LeftOut, list[Row]]:
    from bdm_cli.indexed import rows_of
    from bdm_core.errors import UserError
    from bdm_results.results import Results

    found = Results(options.folder)
    warn_of(found.warnings)
    found.require_runs()
    rows = rows_of(found, options.selection(), by_seed=options.by_seed)
    if not rows and options.selects():
        raise UserError("no numbers are left: nothing was run that fits what was selected")
    return found.left_out, rows


def _plain(rows: list[Row], options: ResultsOptions, left_out: LeftOut) -> None:
    """A row for each cell and model."""
    from bdm_cli.output_formats import csv_text, deliver, give

    metrics = list(dict.fromkeys(metric for row in rows for metric in row.labels))
    if options.output is Format.json:
        import json

        found = {"rows": [_record(row, metrics) for row in rows], "left_out": left_out}
        give(json.dumps(found, indent=2) + "\n", options.file)
    elif options.output is Format.table and options.file is None:
        from bdm_cli.comparison import lines

        print_lines(lines(rows, metrics, out().width, everything=options.everything))
    elif options.output is Format.csv:
        parameters = list(dict.fromkeys(name for row in rows for name in row.parameters()))
        records = [_flat(row, metrics, parameters) for row in rows]
        give(csv_text(list(records[0]) if records else [], [list(record.values()) for record in records]), options.file)
    else:
        deliver([_table(rows, metrics, options)], options.output, options.file)


def _record(row: Row, metrics: list[str]) -> dict[str, Any]:
    values = {
        metric: {"mean": row.mean(metric), "std": row.deviation(metric), "n": row.count(metric)}
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


def _table(rows: list[Row], metrics: list[str], options: ResultsOptions) -> OutputTable:
    """The rows as a table of means with intervals, for a page or a file."""
    from bdm_cli.analysis import meaning
    from bdm_cli.comparison import compares
    from bdm_cli.output_tables import OutputTable
    from bdm_results.intervals import Estimate

    cell = [name for name in rows[0].cell if any(row.cell[name] for row in rows)] if rows else []
    whole = options.everything or options.output is Format.parquet
    shown = [name for name in metrics if whole or compares(name, rows)]
    labels = {name: next(row.labels[name] for row in rows if name in row.labels) for name in shown}
    twice = [text for text in labels.values() if list(labels.values()).count(text) > 1]
    header = [*cell, "row", "verdict", *(name if text in twice else text for name, text in labels.items())]
    confidence = options.selection().confidence
    found = []
    for row in rows:
        numbers = [
            None
            if (mean := row.mean(name)) is None
            else Estimate(mean, row.deviation(name), row.count(name), confidence)
            for name in shown
        ]
        found.append([*(row.cell[name] for name in cell), row.row, row.verdict() or None, *numbers])
    return OutputTable(header, found, len(cell) + 2, "", meaning(confidence, directed=True))
