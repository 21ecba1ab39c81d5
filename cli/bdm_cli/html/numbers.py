"""Numbers as a reader expects them: few digits, units, true minus signs."""

from __future__ import annotations

import math
from collections.abc import Iterable

from bdm_cli import numbers as terminal

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
NONE = "–"


def finite(value: object) -> float | None:
    """The value as a float, or None if it is no finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def scientific(value: float) -> str:
    """``1.2e-05`` as 1.2×10⁻⁵."""
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}×10{str(int(exponent)).translate(_SUPERSCRIPT)}".replace("-", "−")


def fixed(value: float, decimals: int) -> str:
    """With this many decimals, unless only zeros would remain."""
    if value and (abs(value) >= 1e6 or round(value, decimals) == 0):
        return scientific(value)
    return f"{value:.{decimals}f}".replace("-", "−")


def number(value: object) -> str:
    """About three significant digits; a dash for what is no number."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value).replace("-", "−")
    real = finite(value)
    if real is None:
        return NONE
    if real == 0:
        return "0"
    return scientific(real) if abs(real) < 1e-3 else fixed(real, decimals([real]))


def decimals(values: Iterable[float]) -> int:
    """How many decimals a column gets: three digits of the largest value, one of the smallest, five at most.

    Whole numbers of which one has three digits are counts: none.
    """
    sizes = [abs(value) for value in values if value]
    if max(sizes, default=0.0) >= 100 and all(size == round(size) for size in sizes):
        return 0
    largest = max(sizes, default=0.0)
    if largest >= 10:
        return 2 if largest < 100 else 1 if largest < 1000 else 0
    needed = -math.floor(math.log10(min(sizes))) if sizes else 3
    return max(3, needed) if needed <= 5 else 3


def p_value(value: float) -> str:
    """``p = 0.012`` or ``p < 0.001``, with spaces that do not break."""
    return "p\u00a0<\u00a00.001" if value < 0.001 else f"p\u00a0=\u00a0{value:.3f}"


def percent(value: float) -> str:
    """A share in [0, 1] as a percentage."""
    return f"{100 * value:.1f}\u00a0%"


def seconds(value: object) -> str:
    """A span of time, as in the terminal; a dash if unknown."""
    real = finite(value)
    return NONE if real is None else terminal.seconds(real)


def memory(value: object) -> str:
    """An amount of memory, as in the terminal; a dash if unknown."""
    real = finite(value)
    return NONE if real is None else terminal.memory(real)
