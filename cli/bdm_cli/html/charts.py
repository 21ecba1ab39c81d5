"""Small charts as inline SVG: a score on its scale, an error bar, a share bar, a curve. Colours come from the style."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bdm_cli.html.markup import Html, tag
from bdm_cli.html.numbers import number

POINTS = 360
"""A curve is drawn with at most this many points."""


def scale(scores: Sequence[float], threshold: float, *, width: float = 420) -> Html:
    """A detector's scores on a line with its threshold; everything right of the threshold counts as backdoored."""
    values = [*scores, threshold]
    logarithmic = min(values) > 0 and max(values) / min(values) > 30
    mapped = [math.log10(value) if logarithmic else value for value in values]
    spread = (max(mapped) - min(mapped)) or abs(mapped[-1]) or 1.0
    low, high = min(mapped) - 0.45 * spread, max(mapped) + 0.3 * spread
    places = [6 + (width - 12) * (value - low) / (high - low) for value in mapped]
    limit, middle = places[-1], 26.0
    marks = (
        [tag("line", x1=place, x2=place, y1=middle - 6, y2=middle + 6, class_="tick") for place in places[:-1]]
        if len(scores) > 1
        else [tag("circle", cx=places[0], cy=middle, r=6, class_="mark")]
    )
    shown = max(scores)
    place = places[list(scores).index(shown)]
    name = "highest score" if len(scores) > 1 else "score"
    text = f"{name} {number(shown)}, threshold {number(threshold)}" + (" (logarithmic scale)" if logarithmic else "")
    return tag(
        "svg",
        tag("title", text),
        tag("rect", x=limit, y=middle - 6, width=width - 6 - limit, height=12, class_="zone"),
        tag("line", x1=6, x2=width - 6, y1=middle, y2=middle, class_="axis"),
        tag("line", x1=limit, x2=limit, y1=middle - 10, y2=middle + 10, class_="limit"),
        marks,
        tag("text", f"{name} {number(shown)}", x=place, y=12, class_="strong", text_anchor=_anchor(place, width)),
        tag("text", f"threshold {number(threshold)}", x=limit, y=50, text_anchor=_anchor(limit, width)),
        tag("text", "clean", x=6, y=50, class_="faint") if limit > 170 else None,
        tag("text", "backdoored", x=width - 6, y=50, class_="faint", text_anchor="end")
        if limit < width - 140
        else None,
        viewBox=f"0 0 {width:.0f} 56",
        width=width,
        height=56,
        role="img",
        aria_label=text,
        class_="chart scale",
    )


def error_bar(value: float, stderr: float | None, low: float, high: float, *, width: float = 72) -> Html:
    """A dot with its standard error, on a range that a whole column shares. The number stands beside it."""
    inside = width - 8

    def place(at: float) -> float:
        return 4 + inside * min(1.0, max(0.0, (at - low) / (high - low) if high > low else 0.5))

    whisker = (
        tag("line", x1=place(value - stderr), x2=place(value + stderr), y1=5, y2=5, class_="whisker")
        if stderr
        else None
    )
    return tag(
        "svg",
        tag("line", x1=4, x2=width - 4, y1=5, y2=5, class_="track"),
        whisker,
        tag("circle", cx=place(value), cy=5, r=2.6, class_="mark"),
        viewBox=f"0 0 {width:.0f} 10",
        width=width,
        height=10,
        aria_hidden="true",
        class_="chart",
    )


def bar(share: float, *, hollow: bool = False, width: float = 120) -> Html:
    """A horizontal bar for a share in [0, 1]. The number stands beside it."""
    length = max(1.0, (width - 1) * min(1.0, max(0.0, share)))
    return tag(
        "svg",
        tag("rect", x=0.5, y=1.5, width=length, height=7, class_="bar hollow" if hollow else "bar"),
        viewBox=f"0 0 {width:.0f} 10",
        width=width,
        height=10,
        aria_hidden="true",
        class_="chart",
    )


def curve(
    values: Sequence[float | None], name: str, *, axis: str = "step", width: float = 460, height: float = 190
) -> Html | None:
    """One value a step: the raw line, and over it the moving average. Logarithmic if it spans more than a decade.

    Args:
        values: one number a step; None where it was not finite.
        name: what the curve shows, for the alternative text.
        axis: what a step is, in the singular.
    """
    steps = [(step, value) for step, value in enumerate(values) if value is not None]
    if len(steps) < 2:
        return None
    heights = [value for _, value in steps]
    logarithmic = min(heights) > 0 and max(heights) / min(heights) > 10
    if logarithmic:
        heights = [math.log10(value) for value in heights]
    low, high = min(heights), max(heights)
    margin = 0.06 * (high - low) or abs(high) * 0.1 or 1.0
    low, high = low - margin, high + margin
    left, right, top, bottom = 52.0, width - 8, 8.0, height - 24
    last = steps[-1][0] or 1

    def at(step: float, value: float) -> str:
        across = left + (right - left) * step / last
        return f"{across:.1f},{bottom - (bottom - top) * (value - low) / (high - low):.1f}"

    smooth = _moving_average(heights, max(1, len(heights) // 24))
    raw_line = " ".join(at(steps[index][0], heights[index]) for index in _extremes(heights))
    stride = max(1, len(smooth) // (POINTS // 2))
    chosen = sorted({*range(0, len(smooth), stride), len(smooth) - 1})
    smooth_line = " ".join(at(steps[index][0], smooth[index]) for index in chosen)
    grid: list[Html] = []
    for value, label in _ticks(low, high, logarithmic):
        y = bottom - (bottom - top) * (value - low) / (high - low)
        grid.append(tag("line", x1=left, x2=right, y1=y, y2=y, class_="grid"))
        grid.append(tag("text", label, x=left - 7, y=y + 3.5, text_anchor="end"))
    first, final = number(_back(smooth[0], logarithmic)), number(_back(smooth[-1], logarithmic))
    text = f"{name}: {len(values)} {axis}s, from about {first} to {final}" + (
        ", logarithmic scale" if logarithmic else ""
    )
    return tag(
        "svg",
        tag("title", text),
        grid,
        tag("polyline", points=raw_line, class_="raw" if len(heights) > 8 else "smooth"),
        tag("polyline", points=smooth_line, class_="smooth") if len(heights) > 8 else None,
        tag("line", x1=left, x2=right, y1=bottom, y2=bottom, class_="axis"),
        tag("text", "0", x=left, y=height - 8),
        tag("text", f"{last + 1} {axis}s", x=right, y=height - 8, text_anchor="end"),
        viewBox=f"0 0 {width:.0f} {height:.0f}",
        width=width,
        height=height,
        role="img",
        aria_label=text,
        class_="chart",
    )


def _anchor(place: float, width: float) -> str:
    return "start" if place < 60 else "end" if place > width - 60 else "middle"


def _back(value: float, logarithmic: bool) -> float:
    return 10**value if logarithmic else value


def _moving_average(values: Sequence[float], half: int) -> list[float]:
    """Mean over the value and up to ``half`` neighbours on each side."""
    sums = [0.0]
    for value in values:
        sums.append(sums[-1] + value)
    windows = ((max(0, index - half), min(len(values), index + half + 1)) for index in range(len(values)))
    return [(sums[end] - sums[first]) / (end - first) for first, end in windows]


def _extremes(values: Sequence[float]) -> list[int]:
    """Indices that keep the lowest and highest value of every stretch, so that thinning out hides no spike."""
    if len(values) <= POINTS:
        return list(range(len(values)))
    kept = {0, len(values) - 1}
    stretches = POINTS // 2
    for part in range(stretches):
        stretch = range(part * len(values) // stretches, (part + 1) * len(values) // stretches)
        kept.add(min(stretch, key=values.__getitem__))
        kept.add(max(stretch, key=values.__getitem__))
    return sorted(kept)


def _ticks(low: float, high: float, logarithmic: bool) -> list[tuple[float, str]]:
    """Places and labels of three to six ticks; with a logarithmic scale ``low`` and ``high`` are exponents."""
    if logarithmic:
        exponents = range(math.floor(low), math.ceil(high) + 1)
        for factors in ((1,), (1, 3), (1, 2, 5)):
            inside = [(math.log10(factor) + power, factor * 10.0**power) for power in exponents for factor in factors]
            inside = [(place, value) for place, value in inside if low <= place <= high]
            if len(inside) >= 3:
                break
        step = -(-len(inside) // 6)
        return [(place, _plain(value)) for place, value in inside[::step]]
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step_size = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    first = math.ceil(low / step_size)
    return [(index * step_size, _plain(index * step_size)) for index in range(first, math.floor(high / step_size) + 1)]


def _plain(value: float) -> str:
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 1e5:
        return f"{value:.6g}".replace("-", "−")
    return number(value)
