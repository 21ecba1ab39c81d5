"""How numbers, spans of time and amounts of memory read in a terminal."""

from __future__ import annotations

ARROWS = {True: " ↑", False: " ↓", None: ""}
"""After a metric's name: which direction is better for the defender."""


def decimals(value: float) -> int:
    """How many decimals show about three significant digits of a number of this size."""
    size = abs(value)
    if size >= 100:
        return 1
    return 2 if size >= 10 else 3


def number(value: float | None, error: float | None = None) -> str:
    """A value with its standard error, e.g. ``0.953 ±0.012``; ``-`` if there is none."""
    if value is None:
        return "-"
    if value != 0 and abs(value) < 0.001:
        text = f"{value:.1e}"
        return text if error is None else f"{text} ±{error:.0e}"
    places = 0 if error is None and abs(value) >= 100 and value == round(value) else decimals(value)
    text = f"{value:.{places}f}"
    return text if error is None else f"{text} ±{error:.{places}f}"


def seconds(value: float) -> str:
    """A span of time: ``0.42 s``, ``31.7 s``, ``3 min 05 s``, ``2 h 10 min``."""
    if value < 10:
        return f"{value:.2f} s"
    if value < 100:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 100:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def memory(value: float | None) -> str:
    """An amount of memory in MB or GB (powers of 1024); ``-`` if unknown."""
    if value is None:
        return "-"
    megabytes = value / 2**20
    return f"{megabytes:.0f} MB" if megabytes < 1000 else f"{megabytes / 1024:.1f} GB"
