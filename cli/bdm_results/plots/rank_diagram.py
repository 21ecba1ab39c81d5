"""The critical-difference diagram of J. Demsar, JMLR 7 (2006), figure 1: mean ranks, joined where not told apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bdm_core.errors import UserError
from bdm_results.plots.style import caption, new_figure, shown, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bdm_results.ranking import Ranking

MOST_NAMES = 30
STEP = 0.26
"""Inches from one name to the next."""


def rank_diagram(ranking: Ranking, column: str) -> Figure:
    """Draw mean ranks on a line, the best at the left; thick bars join names that are not told apart.

    Args:
        ranking: the ranks.
        column: what is ranked, ``defense`` or ``attack``.

    Raises:
        UserError: too many names to be read.
    """
    names = list(ranking.ranks)
    count = len(names)
    if count > MOST_NAMES:
        raise UserError(f"{count} names cannot be read in one diagram: choose at most {MOST_NAMES} with --where")
    left = (count + 1) // 2
    bars = ranking.groups
    depth = len(bars) * 0.12 + 0.2
    with styled():
        figure = new_figure(6.4, 0.95 + depth + STEP * left)
        axes = figure.subplots()
        axes.set_axis_off()
        margin = 0.28 * (count - 1) + 0.2
        axes.set_xlim(1 - margin, count + margin)
        axes.set_ylim(-(depth + STEP * (left + 0.3)), 0.75)
        line: dict[str, Any] = {"color": "black", "solid_capstyle": "butt", "clip_on": False}
        axes.plot([1, count], [0, 0], linewidth=1, **line)
        for tick in range(1, count + 1):
            axes.plot([tick, tick], [0, 0.07], linewidth=1, **line)
            axes.text(tick, 0.1, str(tick), ha="center", va="bottom", fontsize=8)
        _difference(axes, ranking, line)
        for place, group in enumerate(bars):
            ends = [ranking.ranks[group[0]] - 0.04, ranking.ranks[group[-1]] + 0.04]
            axes.plot(ends, [-0.12 * (place + 1)] * 2, linewidth=3, **line)
        for place, name in enumerate(names):
            at_left = place < left
            height = -(depth + STEP * (place if at_left else count - 1 - place))
            end = 1 - 0.15 if at_left else count + 0.15
            rank = ranking.ranks[name]
            axes.plot([rank, rank, end], [0, height, height], linewidth=0.7, **line)
            words = f"{shown(name)}  {rank:.2f}" if at_left else f"{rank:.2f}  {shown(name)}"
            side = "right" if at_left else "left"
            axes.text(end + (-0.05 if at_left else 0.05), height, words, ha=side, va="center", fontsize=8)
        p_value = "< 0.001" if ranking.p_value < 0.001 else f"= {ranking.p_value:.3f}"
        title = f"{shown(column)}s ranked by {shown(ranking.metric.label)} (1 is best), {ranking.settings} settings"
        caption(axes, f"{title}; Friedman p {p_value}")
    return figure


def _difference(axes: Any, ranking: Ranking, line: dict[str, Any]) -> None:
    """The bar that is as long as the critical difference, or a word where it is longer than the line."""
    count, width = len(ranking.ranks), ranking.critical_difference
    words = f"CD = {width:.2f} (level {ranking.alpha:.2g})"
    if width <= count - 1:
        axes.plot([1, 1 + width], [0.5, 0.5], linewidth=1, **line)
        for end in (1, 1 + width):
            axes.plot([end, end], [0.46, 0.54], linewidth=1, **line)
        axes.text(1 + width / 2, 0.56, words, ha="center", va="bottom", fontsize=8)
    else:
        axes.text(1, 0.5, f"{words}: longer than the line", ha="left", va="bottom", fontsize=8)
