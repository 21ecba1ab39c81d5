"""A grid of numbers as a heat map, e.g. attacks down and defenses across."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bdm_core.errors import UserError
from bdm_results.engines import engine
from bdm_results.intervals import Estimate
from bdm_results.plots.style import COLOURS, axis_name, caption, digits, new_figure, shown, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bdm_results.summaries import Grid

MOST_CELLS = 60
"""Names down or across at most."""
MOST_NUMBERS = 30
"""With more names across, cells are too small for numbers."""
HATCH = "///"
"""What a cell without a number is filled with."""


def heat_map(grid: Grid) -> Figure:
    """Draw a grid: the number in each cell, with half of its interval below it; hatched where nothing was run.

    Raises:
        UserError: the grid has too many names to be read.
    """
    down, across = len(grid.rows), len(grid.columns)
    if max(down, across) > MOST_CELLS:
        raise UserError(
            f"a heat map of {down} x {across} names cannot be read: choose at most {MOST_CELLS} with --where"
        )
    with styled():
        longest = max(len(shown(name)) for name in grid.rows)
        figure = new_figure(max(3.6, 0.75 * across + 0.075 * longest + 1.6), max(2.4, 0.5 * down + 1.6))
        axes = figure.subplots()
        values = [[_mean(grid.cells.get((row, column))) for column in grid.columns] for row in grid.rows]
        low, high = (0.0, 1.0) if grid.metric.share else (None, None)
        picture = axes.imshow(values, cmap=COLOURS, aspect="auto", vmin=low, vmax=high)
        axes.set_xticks(range(across), [shown(name) for name in grid.columns], rotation=35, ha="right")
        axes.set_yticks(range(down), [shown(name) for name in grid.rows])
        axes.set_xlabel(shown(grid.columns_by))
        axes.set_ylabel(shown(grid.rows_by))
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        axes.set_xticks([place - 0.5 for place in range(1, across)], minor=True)
        axes.set_yticks([place - 0.5 for place in range(1, down)], minor=True)
        axes.grid(which="minor", color="white", linewidth=1.5)
        axes.tick_params(which="minor", length=0)
        for y, row in enumerate(grid.rows):
            for x, column in enumerate(grid.columns):
                estimate = grid.cells.get((row, column))
                if estimate is None:
                    _fill(axes, (x, y))
                elif across <= MOST_NUMBERS:
                    _write(axes, (x, y), estimate, picture, grid.metric.share)
        bar = figure.colorbar(picture, ax=axes, pad=0.02, fraction=0.05)
        bar.set_label(axis_name(grid.metric))
        bar.outline.set_visible(False)
        title = f"row {shown(grid.row)}, " if grid.row else ""
        caption(axes, f"{title}mean over seeds ± half of the {grid.confidence:.0%} t interval")
    return figure


def _mean(estimate: Estimate | None) -> float:
    return float("nan") if estimate is None else estimate.mean


def _fill(axes: Any, place: tuple[int, int]) -> None:
    corner = (place[0] - 0.5, place[1] - 0.5)
    look = {"facecolor": "0.95", "edgecolor": "0.6", "hatch": HATCH, "linewidth": 0}
    axes.add_patch(engine("matplotlib.patches").Rectangle(corner, 1, 1, **look))


def _write(axes: Any, place: tuple[int, int], estimate: Estimate, picture: Any, share: bool) -> None:
    red, green, blue, _ = picture.cmap(picture.norm(estimate.mean))
    dark = 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.45
    half = estimate.half_width
    text = digits(estimate.mean, share)
    text = text if half is None else f"{text}\n±{digits(half, share)}"
    axes.text(*place, text, ha="center", va="center", fontsize=7, color="white" if dark else "black", linespacing=0.95)
