"""The seeds of a plan: whole numbers and ranges, each once."""

from __future__ import annotations

import re
from typing import Any

MOST_CELLS = 100_000
"""A plan of more cells is taken for a mistake."""
LARGEST_SEED = 2**31 - 1
SEED_RANGE = re.compile(r"(\d{1,10})(?:-(\d{1,10}))?")


def listed(given: Any) -> list[Any]:
    """A list as it is, anything else as a list of one."""
    return given if isinstance(given, list) else [given]


def seeds_of(given: Any) -> list[int]:
    """The seeds that a number, a text such as ``0-2,7``, or a list of both stands for.

    Raises:
        ValueError: something else, a number that is no seed, or one that stands there twice.

    >>> seeds_of(["0-2", 7])
    [0, 1, 2, 7]
    """
    found: list[int] = []
    for item in listed(given):
        if isinstance(item, str):
            found += [seed for part in item.split(",") for seed in _range(part.strip())]
        elif isinstance(item, int) and not isinstance(item, bool):
            found.append(item)
        else:
            raise ValueError(f"write seeds as whole numbers and ranges, e.g. 0-2 (got {_short(item)})")
    seen: set[int] = set()
    for seed in found:
        if not 0 <= seed <= LARGEST_SEED:
            raise ValueError(f"a seed is a whole number from 0 to {LARGEST_SEED} (got {_short(seed)})")
        if seed in seen:
            raise ValueError(f"the seed {seed} stands there twice")
        seen.add(seed)
    return found


def _range(text: str) -> list[int]:
    match = SEED_RANGE.fullmatch(text)
    if not match:
        raise ValueError(f"write seeds as whole numbers and ranges, e.g. 0-2 (got {_short(text)})")
    first, last = int(match[1]), int(match[2] or match[1])
    if last < first or last - first >= MOST_CELLS:
        raise ValueError(f"{text}: a range goes from a smaller to a larger number and has at most {MOST_CELLS:,}")
    return list(range(first, last + 1))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
