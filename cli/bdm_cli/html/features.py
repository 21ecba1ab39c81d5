"""Nested JSON, such as a detector's features, as tables that fold; long lists become their size and range."""

from __future__ import annotations

import itertools
from typing import Any

from bdm_cli.html import numbers
from bdm_cli.html.markup import Child, Html, tag

INLINE = 6
"""A list of so many plain values is written out."""
ENTRIES = 60
"""So many entries of an object or list are shown."""
DEPTH = 8
LENGTH = 600
"""Characters of one text that are shown."""


def tree(value: Any, depth: int = 0) -> Html | None:
    """An object or a list of objects as an indented table; None if there is nothing in it.

    What is nested stands in a ``details`` element that is closed at first.
    """
    entries = list(_entries(value))
    if not entries:
        return None
    shown = [_entry(name, item, depth) for name, item in entries[:ENTRIES]]
    left_out = len(entries) - len(shown)
    more = tag("p", f"and {left_out} more", class_="note") if left_out else None
    return tag("div", shown, more, class_="tree")


def _entry(name: str, value: Any, depth: int) -> Html:
    line = summary(value)
    if line is not None:
        return tag("div", tag("span", name, class_="key"), " ", tag("span", line, class_="value"), class_="leaf")
    if depth >= DEPTH:
        return tag("div", tag("span", name, class_="key"), " …", class_="leaf")
    count = len(value)
    size = f"{count} {'entry' if count == 1 else 'entries'}" if isinstance(value, dict) else f"list of {count}"
    return tag(
        "details",
        tag("summary", tag("span", name, class_="key"), " ", tag("span", size, class_="faint")),
        tree(value, depth + 1),
    )


def summary(value: Any) -> str | None:
    """A value in one line; None for what has to be unfolded.

    A list of numbers, also a nested one, becomes its values or, if long, how many there are and their range.
    """
    if value is None or isinstance(value, bool):
        return {None: numbers.NONE, True: "yes", False: "no"}[value]
    if isinstance(value, int | float):
        return numbers.number(value)
    if isinstance(value, str):
        return value[:LENGTH] + ("…" if len(value) > LENGTH else "")
    if not value:
        return "empty"
    if isinstance(value, dict):
        return None
    if not any(isinstance(item, dict | list) for item in value):
        return _plain_list(value)
    leaves = _leaves(value)
    return None if leaves is None else f"{_extent(value)} {_range(leaves)}"


def _plain_list(values: list[Any]) -> str:
    found = [item for item in values if numbers.finite(item) is not None]
    if len(values) > INLINE and len(found) == len(values):
        return f"{len(values)} {_range(found)}"
    words = [summary(item) or "" for item in values[:INLINE]]
    more = f", … ({len(values)} in all)" if len(values) > INLINE else ""
    return ", ".join(words) + more


def _range(found: list[float]) -> str:
    return f"values from {numbers.number(min(found))} to {numbers.number(max(found))}"


def _leaves(value: list[Any], depth: int = 0) -> list[float] | None:
    """All numbers of a nested list; None if it holds anything else."""
    found: list[float] = []
    for item in value:
        if isinstance(item, list) and depth < DEPTH:
            inner = _leaves(item, depth + 1)
            if inner is None:
                return None
            found += inner
        elif numbers.finite(item) is not None:
            found.append(item)
        else:
            return None
    return found or None


def _extent(value: Any) -> str:
    """The size of a regular nested list, e.g. ``3 × 8``; for another one how many values it holds."""
    sizes = []
    level: list[Any] = [value]
    while level and all(isinstance(item, list) for item in level):
        lengths = {len(item) for item in level}
        if len(lengths) > 1:
            return str(len(_leaves(value) or []))
        sizes.append(lengths.pop())
        level = list(itertools.chain.from_iterable(level))
    return " × ".join(map(str, sizes))


def _entries(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [(str(name), item) for name, item in value.items()]
    if isinstance(value, list):
        return [(str(index + 1), item) for index, item in enumerate(value)]
    return [("value", value)] if value is not None else []


def plain(value: Any) -> Child:
    """A parameter's value in one line."""
    line = summary(value)
    return line if line is not None else "; ".join(f"{name}: {plain(item)}" for name, item in _entries(value))
