"""Rows that are not independent of each other, such as those of one speaker, and parts of data that share no group."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

Units = list[list[int]]
"""Groups of rows."""

GROUP = "group"
"""The fact of a row that names its group; rows without one are independent."""


def groups_of(facts: Sequence[Mapping[str, Any]]) -> list[Hashable]:
    """The group of each row; one of its own where it tells none.

    >>> groups_of([{"group": "a"}, {}, {"group": "a"}])
    ['a', 1, 'a']
    """
    return [str(fact[GROUP]) if GROUP in fact else row for row, fact in enumerate(facts)]


def strata(labels: Sequence[int], groups: Sequence[Hashable], classes: int) -> list[Units]:
    """Rows by group, and groups by class; all groups together where one has rows of several classes.

    Args:
        labels: of each row; rows of no class are left out.
        groups: of each row.
        classes: how many there are.

    Returns:
        Strata, from each of which a share may be taken: groups in the order of their first rows, of rows in order.

    >>> strata([0, 1, 0, 1, 0], ["a", "b", "a", "b", "c"], 2)
    [[[0, 2], [4]], [[1, 3]]]
    >>> strata([0, 1, 0, 1], ["a", "a", "b", "b"], 2)
    [[[0, 1], [2, 3]]]
    """
    units: dict[Hashable, list[int]] = {}
    for row, (label, group) in enumerate(zip(labels, groups, strict=True)):
        if 0 <= label < classes:
            units.setdefault(group, []).append(row)
    if any(len({labels[row] for row in rows}) > 1 for rows in units.values()):
        return [list(units.values())]
    found: list[Units] = [[] for _ in range(classes)]
    for rows in units.values():
        found[labels[rows[0]]].append(rows)
    return found


def how_many(units: Sequence[Sequence[int]], rows: int, left: int = 1) -> int:
    """How many groups from the first on have about so many rows: at least one, and at least ``left`` are left over.

    Args:
        units: groups of rows.
        rows: wanted.
        left: so many groups stay; with no more than these there is none to take.

    >>> how_many([[0], [1], [2], [3]], 2), how_many([[0, 1, 2], [3, 4, 5], [6, 7]], 4), how_many([[0], [1]], 9)
    (2, 1, 1)
    """
    count = taken = 0
    for unit in units:
        if taken + len(unit) / 2 > rows:
            break
        taken += len(unit)
        count += 1
    return max(0, min(max(1, count), len(units) - left))


def share_of(
    labels: Sequence[int],
    groups: Sequence[Hashable],
    classes: int,
    share: float,
    shuffling: Callable[[], Callable[[Units], Units]],
) -> list[int]:
    """About a share of the rows of each class, in whole groups; where no group can be taken, of rows one by one.

    Each class of two groups or more gives one at least, and keeps one at least. Where no class has two rows, the share
    is one of all rows.

    Args:
        labels: of each row; rows of no class are left out.
        groups: of each row.
        classes: how many there are.
        share: in [0, 1].
        shuffling: makes a function that brings groups into a random order, always the same ones.

    Returns:
        The rows in order; none if there are not two.
    """
    alone = range(len(labels))
    for found in (strata(labels, groups, classes), strata(labels, alone, classes), [[[row] for row in alone]]):
        shuffle, taken = shuffling(), set[int]()
        for units in found:
            order = shuffle(units) if units else []
            count = how_many(order, round(share * sum(map(len, order))))
            taken.update(row for unit in order[:count] for row in unit)
        if taken:
            return sorted(taken)
    return []
