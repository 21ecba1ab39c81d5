"""Two metrics against each other, and a metric over a parameter: series told apart by marker, line and colour."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bdm_core.errors import UserError
from bdm_results.plots.style import LINES, MARKERS, axis_name, caption, colours, new_figure, pad_range, shown, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bdm_results.intervals import Estimate
    from bdm_results.results import MetricFacts
    from bdm_results.summaries import Group, Summary

WIDE = 20
"""Parameters that span such a factor stand on a logarithmic axis."""
MOST_SERIES = 10
"""With more series markers repeat."""


def trade_off(summary: Summary, x: MetricFacts, y: MetricFacts) -> Figure:
    """Draw one metric against another, e.g. utility against attack success.

    Args:
        summary: grouped by two columns: points of one value of the first one share a marker, the second one names them.
        x: the metric to the right.
        y: the metric upwards.

    Raises:
        UserError: no group has both metrics, or there are too many series to be told apart.
    """
    having = [group for group in summary.groups if x.name in group.estimates and y.name in group.estimates]
    series = _series(having, summary.by[0])
    if not series:
        raise UserError(f"nothing has both {x.label} and {y.label}")
    with styled():
        figure = new_figure(5.6, 3.8)
        axes = figure.subplots()
        for place, (name, groups) in enumerate(series.items()):
            look = {"marker": MARKERS[place], "color": colours(len(series))[place], "markeredgecolor": "black"}
            across, up = [group.estimates[x.name] for group in groups], [group.estimates[y.name] for group in groups]
            axes.errorbar(
                [item.mean for item in across],
                [item.mean for item in up],
                xerr=[item.half_width or 0 for item in across],
                yerr=[item.half_width or 0 for item in up],
                **look,
                linestyle="none",
                markersize=6,
                markeredgewidth=0.6,
                elinewidth=0.7,
                ecolor="0.55",
                label=shown(name),
                zorder=3,
            )
            if len(summary.by) > 1:
                _name_points(axes, [group.key[1] for group in groups], across, up)
        _frame(axes, summary.by[0], len(series))
        axes.set_xlabel(axis_name(x))
        axes.set_ylabel(axis_name(y))
        axes.margins(0.08)
        each = f"each point: one {shown(summary.by[1])}, " if len(summary.by) > 1 else ""
        caption(axes, _caption(summary, each))
    return figure


def curves(summary: Summary, metric: MetricFacts) -> Figure:
    """Draw a metric over a parameter.

    Args:
        summary: grouped by two columns: a line for each value of the first one, over the values of the second one.
        metric: the metric upwards.

    Raises:
        UserError: the parameter has a value nowhere, or there are too many lines to be told apart.
    """
    having = [group for group in summary.groups if metric.name in group.estimates and group.key[1] is not None]
    series = _series(having, summary.by[0])
    if not series:
        raise UserError(f"{summary.by[1]} has no value where {metric.label} was measured")
    values = list(dict.fromkeys(group.key[1] for group in having))
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    place_of = {value: value if numeric else place for place, value in enumerate(values)}
    with styled():
        figure = new_figure(5.6, 3.6)
        axes = figure.subplots()
        for place, (name, groups) in enumerate(series.items()):
            across = [place_of[group.key[1]] for group in groups]
            found = [group.estimates[metric.name] for group in groups]
            colour = colours(len(series))[place]
            axes.errorbar(
                across,
                [item.mean for item in found],
                yerr=[item.half_width or 0 for item in found],
                marker=MARKERS[place],
                linestyle=LINES[place % len(LINES)],
                color=colour,
                markeredgecolor="black",
                markeredgewidth=0.6,
                markersize=5,
                elinewidth=0.8,
                capsize=2.5,
                label=shown(name),
            )
        if numeric and min(values) > 0 and max(values) >= WIDE * min(values):
            axes.set_xscale("log")
            axes.set_xticks(values, [shown(float(value)) for value in values])
            axes.minorticks_off()
        if not numeric:
            axes.set_xticks(range(len(values)), [shown(value) for value in values], rotation=25, ha="right")
        _frame(axes, summary.by[0], len(series))
        axes.set_xlabel(shown(summary.by[1]))
        axes.set_ylabel(axis_name(metric))
        pad_range(axes, metric, "y")
        caption(axes, _caption(summary, ""))
    return figure


def _name_points(axes: Any, values: list[Any], across: list[Estimate], up: list[Estimate]) -> None:
    """Names beside points; those of points in one place stand above each other."""
    names: dict[tuple[float, float], list[str]] = {}
    for value, x, y in zip(values, across, up, strict=True):
        names.setdefault((float(f"{x.mean:.3g}"), float(f"{y.mean:.3g}")), []).append(shown(value))
    for place, found in names.items():
        beside = {"xytext": (5, 4), "textcoords": "offset points"}
        axes.annotate("\n".join(found), place, **beside, fontsize=7, color="0.25", zorder=4)


def _series(groups: list[Group], column: str) -> dict[Any, list[Group]]:
    series: dict[Any, list[Group]] = {}
    for group in groups:
        series.setdefault(group.key[0], []).append(group)
    if len(series) > MOST_SERIES:
        raise UserError(
            f"{len(series)} values of {column} cannot be told apart: choose at most {MOST_SERIES} with --where"
        )
    return series


def _frame(axes: Any, title: str, count: int) -> None:
    axes.grid(color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    if count > 1 or title:
        axes.legend(title=shown(title), loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, handlelength=3)


def _caption(summary: Summary, before: str) -> str:
    row = f"row {shown(summary.row)}, " if summary.row else ""
    return f"{row}{before}mean over seeds ± half of the {summary.confidence:.0%} t interval"
