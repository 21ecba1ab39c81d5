"""Summaries, grids, comparisons and ranks as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bdm_cli.numbers import ARROWS
from bdm_cli.output_tables import OutputTable
from bdm_cli.tables import ARROWS_MEAN
from bdm_results.columns import NUMBER_COLUMNS, RUN_COLUMNS, Pairs
from bdm_results.paired import Comparison
from bdm_results.ranking import Ranking
from bdm_results.results import MetricFacts
from bdm_results.summaries import Grid, Summary


def label(metric: MetricFacts) -> str:
    """A metric's name in a table, with an arrow to the better side."""
    return metric.label + ARROWS[metric.higher_is_better]


def of_summary(summary: Summary) -> OutputTable:
    """One row for each group, one column for each metric."""
    rows: list[list[Any]] = [
        [*group.key, *(group.estimates.get(metric.name) for metric in summary.metrics)] for group in summary.groups
    ]
    header = [*summary.by, *_told_apart(summary.metrics)]
    title = f"row {summary.row}" if summary.row else ""
    return OutputTable(header, rows, len(summary.by), title, _notes(summary.confidence, summary.metrics))


def of_grid(grid: Grid) -> OutputTable:
    """The values of one column down, those of the other across."""
    title = f"{label(grid.metric)}, row {grid.row}" if grid.row else label(grid.metric)
    rows = [[value, *(grid.cells.get((value, other)) for other in grid.columns)] for value in grid.rows]
    header = [grid.rows_by, *(_heading(grid.columns_by, value) for value in grid.columns)]
    return OutputTable(header, rows, 1, title, _notes(grid.confidence, [grid.metric]))


def _heading(column: str, value: Any) -> str:
    """What stands above a column of a grid: a name says what it is, a number or a parameter's value does not."""
    text = "-" if value is None else str(value)
    plain = column.lower() in {**RUN_COLUMNS, **NUMBER_COLUMNS} and isinstance(value, str | None)
    return text if plain else f"{column}={text}"


def of_comparisons(found: Sequence[Comparison], names: Sequence[str], pairs: Pairs, confidence: float) -> OutputTable:
    """One row for each metric."""
    first, second = names
    header = ["metric", first, second, f"{second} - {first}", "W", "p", "p (Holm)", "better"]
    rows = [
        [
            *(label(item.metric), item.first, item.second, item.difference, item.statistic),
            *(_p(item.p_value), _p(item.p_corrected), _better(item, names, 1 - confidence)),
        ]
        for item in found
    ]
    unit = "attack settings (means over the seeds that both have)" if pairs is Pairs.settings else "seeds"
    notes = [
        f"Wilcoxon's signed-rank test, two-sided, pairs: {unit}; p (Holm) is corrected for {len(found)} comparisons. "
        f"difference: mean ± half of the {confidence:.0%} t interval over pairs (number of pairs)"
    ]
    few = [item for item in found if item.smallest_p > 1 - confidence]
    if few:
        smallest = max(few, key=lambda item: item.smallest_p)
        notes.append(
            f"{smallest.pairs} pairs can give no p below {smallest.smallest_p:.2g}: no difference can be shown"
            + (" (--pairs seeds takes each seed as a pair)" if pairs is Pairs.settings else "")
        )
    if pairs is Pairs.seeds:
        notes.append("seeds of one setting are no independent settings: this holds for these settings only")
    return OutputTable(header, rows, 1, "", [*notes, ARROWS_MEAN])


def _better(item: Comparison, names: Sequence[str], alpha: float) -> str:
    if item.p_corrected >= alpha or item.difference.mean == 0:
        return "no difference shown"
    return names[1] if (item.difference.mean > 0) == item.metric.higher_is_better else names[0]


def of_ranking(ranking: Ranking, column: str) -> OutputTable:
    """Best first, with letters for those that are not told apart."""
    letters = dict.fromkeys(ranking.ranks, "")
    for place, group in enumerate(ranking.groups):
        for name in group:
            letters[name] += chr(ord("a") + place) if place < 26 else f" {place}"
    rows = [[name, mean, ranking.means[name], letters[name] or "alone"] for name, mean in ranking.ranks.items()]
    left_out = f"; {ranking.left_out} settings that lack one are left out" if ranking.left_out else ""
    difference = f"critical difference {ranking.critical_difference:.3g} (Nemenyi, level {ranking.alpha:.2g})"
    test = f"Friedman chi-square {ranking.chi_square:.4g}, p = {_p(ranking.p_value)}"
    notes = [
        f"{ranking.settings} settings{left_out}; {test} (Iman and Davenport's F); {difference}: those "
        "with a letter in common are not told apart"
    ]
    if ranking.p_value >= ranking.alpha:
        notes.append("Friedman's test finds no difference at all: the ranks are no order")
    return OutputTable([column, "mean rank", "mean", "group"], rows, 1, f"ranks by {label(ranking.metric)}", notes)


def _p(value: float) -> str:
    return "<1e-15" if value < 1e-15 else f"{value:.2g}"


def _told_apart(metrics: Sequence[MetricFacts]) -> list[str]:
    """Labels, with full names where two metrics have the same one."""
    labels = [label(metric) for metric in metrics]
    return [
        text if labels.count(text) == 1 else f"{metric.name}{ARROWS[metric.higher_is_better]}"
        for text, metric in zip(labels, metrics, strict=True)
    ]


def _notes(confidence: float, metrics: Sequence[MetricFacts]) -> list[str]:
    return meaning(confidence, directed=any(metric.higher_is_better is not None for metric in metrics))


def meaning(confidence: float, *, directed: bool) -> list[str]:
    """What a cell with an interval says, and what arrows mean."""
    text = f"mean ± half of the {confidence:.0%} t interval over seeds (number of seeds); no interval for one seed"
    return [text, *([ARROWS_MEAN] if directed else [])]
