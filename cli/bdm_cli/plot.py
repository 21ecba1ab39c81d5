"""``bdm plot``: results as pictures."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bdm_cli.analysis_options import Choosing, names
from bdm_cli.console import out, printable, warn_of
from bdm_cli.options import takes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bdm_results.results import MetricFacts, Results, Selection

ATTACK_SUCCESS, UTILITY = "attack-success", "utility"


class Kind(StrEnum):
    """What ``bdm plot`` draws."""

    heat_map = "heat-map"
    trade_off = "trade-off"
    curves = "curves"
    ranks = "ranks"


@dataclass(frozen=True, kw_only=True)
class PlotOptions(Choosing):
    """The options of ``bdm plot``."""

    kind: Annotated[
        Kind, typer.Option(help="A grid, two metrics against each other, a metric over a parameter, or ranks.")
    ] = Kind.heat_map
    file: Annotated[Path, typer.Option("--output", help="A .png, .svg or .pdf file.", metavar="FILE")] = Path(
        "plot.png"
    )
    pivot: Annotated[str, typer.Option(help="heat-map: down and across.", metavar="COLUMN,COLUMN")] = "attack,defense"
    by: Annotated[
        str, typer.Option(help="trade-off, curves: what a marker or line stands for; ranks: attack or defense.")
    ] = "defense"
    over: Annotated[
        str | None, typer.Option(help="curves: the parameter to the right, e.g. poison_rate.", metavar="COLUMN")
    ] = None


@takes(PlotOptions)
def plot(options: PlotOptions) -> None:
    """Draw results: heat map of attacks and defenses, utility against attack success, curves, ranks.

    Numbers are of the model as the defense leaves it, unless --row says otherwise. Without --metric: attack success;
    trade-off takes two, the first one to the right (default: utility and attack-success).
    """
    from bdm_results.columns import FINAL
    from bdm_results.plots.style import check_name, save
    from bdm_results.results import Results

    check_name(options.file)
    selection = options.selection()
    selection = dataclasses.replace(selection, rows=selection.rows or (FINAL,))
    results = Results(options.folder)
    warn_of(results.warnings)
    results.require_runs()
    save(_figure(options, results, selection), options.file)
    out().print(printable(str(options.file)), soft_wrap=True, markup=False)


def _figure(options: PlotOptions, results: Results, selection: Selection) -> Figure:
    from bdm_core.errors import UserError
    from bdm_results.plots.heat_map import heat_map
    from bdm_results.plots.rank_diagram import rank_diagram
    from bdm_results.plots.series import curves, trade_off
    from bdm_results.ranking import rank
    from bdm_results.summaries import pivot, summarise

    trade = options.kind is Kind.trade_off
    wanted = selection.metrics or ((UTILITY, ATTACK_SUCCESS) if trade else (ATTACK_SUCCESS,))
    if len(wanted) != 1 + trade:
        raise UserError(f"--kind {options.kind} takes {'two metrics' if trade else 'one --metric'}, not {len(wanted)}")
    metrics = [_metric(results, name, bool(selection.metrics)) for name in wanted]
    selection = dataclasses.replace(selection, metrics=tuple(metric.name for metric in metrics))
    if options.kind is Kind.heat_map:
        columns = names(options.pivot, "--pivot")
        if len(columns) != 2:
            raise UserError("--pivot takes two columns, e.g. attack,defense")
        grid = pivot(results, columns[0], columns[1], selection)[0]
        warn_of(grid.warnings)
        return heat_map(grid)
    if options.kind is Kind.ranks:
        return rank_diagram(rank(results, options.by, selection)[0], options.by)
    if trade:
        beside = "attack" if options.by != "attack" else "defense"
    elif options.over is None:
        raise UserError("--kind curves needs --over COLUMN, the parameter to the right, e.g. --over poison_rate")
    else:
        beside = options.over
    summary = summarise(results, [options.by, beside], selection)
    warn_of(summary.warnings)
    return trade_off(summary, metrics[0], metrics[1]) if trade else curves(summary, metrics[0])


def _metric(results: Results, name: str, named: bool) -> MetricFacts:
    """The metric of this name; for what was not asked for by name the first one that measures it."""
    first = [item for item in results.metrics() if item.measures == name]
    return first[0] if first and not named else results.metric(name)
