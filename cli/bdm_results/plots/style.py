"""What all plots share: size, fonts, markers, names, and how they are written to a file."""

from __future__ import annotations

import contextlib
import textwrap
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bdm_core.errors import UserError
from bdm_results.engines import engine
from bdm_results.results import MetricFacts

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".pdf")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")
LINES = ("-", "--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)), (0, (3, 1)))
SHADES = 0.0, 0.85
"""Ends of the colour map that series take their colours from; the lightest yellow is lost on white."""
COLOURS = "cividis"
"""A map whose lightness rises evenly, also for readers who see no red or green."""
LONGEST_NAME = 40
SHORTEST_LINE = 20
"""A title has at least so many signs in a line."""
SETTINGS: dict[str, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.parse_math": False,
    "svg.hashsalt": "bdm",
    "pdf.fonttype": 42,
    "savefig.dpi": 200,
}


@contextlib.contextmanager
def styled() -> Iterator[None]:
    """While this is open, Matplotlib draws as all plots do; no text is taken for a formula."""
    matplotlib = engine("matplotlib")
    with warnings.catch_warnings(), matplotlib.rc_context(SETTINGS):
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure.

    Args:
        width: in inches.
        height: in inches.
    """
    figure: Figure = engine("matplotlib.figure").Figure(figsize=(width, height), layout="constrained")
    return figure


def caption(axes: Any, text: str) -> None:
    """Set the title, in as many lines as it takes to end within the figure; the last thing to be drawn."""
    title = axes.set_title(text, fontsize=8, loc="left")
    axes.figure.draw_without_rendering()
    extent = title.get_window_extent()
    room = axes.figure.bbox.x1 - extent.x0
    title.set_text(textwrap.fill(text, max(SHORTEST_LINE, int(0.95 * room * len(text) / extent.width))))


def save(figure: Figure, file: Path) -> None:
    """Write a figure as PNG, SVG or PDF, without a date in it.

    Raises:
        UserError: the name ends otherwise, or the file cannot be written.
    """
    check_name(file)
    date = {".png": {}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}[file.suffix.lower()]
    try:
        with styled():
            figure.savefig(file, metadata=date)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot write {file}: {getattr(error, 'strerror', None) or error}") from None


def check_name(file: Path) -> None:
    """Raises a UserError if a plot cannot have this name."""
    if file.suffix.lower() not in SUFFIXES:
        raise UserError(f"{file}: a plot is a .png, .svg or .pdf file")


def colours(count: int) -> list[Any]:
    """So many colours, of falling darkness."""
    shades = engine("matplotlib").colormaps[COLOURS]
    low, high = SHADES
    return [shades(low + (high - low) * place / max(1, count - 1)) for place in range(count)]


def shown(value: Any) -> str:
    """A value as a name in a plot: of bounded length, and nothing that cannot be printed."""
    text = "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
    text = "".join(sign if sign.isprintable() else "?" for sign in text)
    return text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 1]}…"


def digits(value: float, share: bool) -> str:
    """A number in a picture: a share with three decimals, anything else with three digits."""
    return f"{value:.3f}" if share else f"{value:.3g}"


def axis_name(metric: MetricFacts) -> str:
    """A metric's name with the better direction."""
    better = {True: " (higher is better)", False: " (lower is better)", None: ""}[metric.higher_is_better]
    return shown(metric.label) + better


def pad_range(axis: Any, metric: MetricFacts, which: str) -> None:
    """Let an axis of shares reach from 0 to 1."""
    if metric.share:
        getattr(axis, f"set_{which}lim")(-0.03, 1.03)
