"""The numbers of several defenses (or attacks) side by side: what paired tests and ranks are made of."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from bdm_core.errors import UserError, nearest
from bdm_results.columns import FINAL, listed
from bdm_results.results import CHOSEN, MetricFacts, Results, Selection
from bdm_results.same_data import require_same_data

BESIDE = {"defense": "beside_defense", "attack": "beside_attack"}
"""What can be compared -> the column that says what runs have in common beside it."""
DIGITS = 12
"""Significant digits that count: what differs less is equal."""
Block = str
"""One setting: attack with parameters, model, data, options, where defenses are compared."""


@dataclass(frozen=True)
class Treatments:
    """Values of one metric by setting, seed and treatment.

    Attributes:
        metric: the metric.
        values: (setting, seed) -> treatment -> value.
    """

    metric: MetricFacts
    values: dict[tuple[Block, int], dict[str, float]]

    def over_seeds(self, names: Sequence[str]) -> dict[Block, list[float]]:
        """For each setting the mean of each treatment over the seeds that all of them have."""
        found: dict[Block, list[list[float]]] = {}
        for (block, _), by_name in sorted(self.values.items()):
            if all(name in by_name for name in names):
                found.setdefault(block, []).append([by_name[name] for name in names])
        return {block: [rounded(fmean(column)) for column in zip(*rows, strict=True)] for block, rows in found.items()}

    def by_seed(self, names: Sequence[str]) -> dict[tuple[Block, int], list[float]]:
        """For each setting and seed the value of each treatment, where all of them have one."""
        return {
            place: [rounded(by_name[name]) for name in names]
            for place, by_name in sorted(self.values.items())
            if all(name in by_name for name in names)
        }


def treatments(results: Results, column: str, selection: Selection, names: Sequence[str] = ()) -> list[Treatments]:
    """The values to compare, for each metric that has a better direction.

    Args:
        results: where from.
        column: ``defense`` or ``attack``.
        selection: which numbers; without a row the model as the defense leaves it.
        names: the treatments; () for all.

    Raises:
        UserError: another column, an unknown treatment, more than one row, a metric without a direction, a
            treatment with several settings of its own in one place, or different rows under one name of data.
    """
    if column not in BESIDE:
        raise UserError(f"cannot compare by {column!r}: {nearest(column, BESIDE, 'give defense or attack')}")
    if len(selection.rows) > 1:
        raise UserError("a comparison is of one row: give one --row")
    selection = dataclasses.replace(selection, rows=selection.rows or (FINAL,))
    treatment = results.columns.find(column).sql
    source = results.numbers(selection)
    require_same_data(results, CHOSEN, source)
    rows = results.ask(
        f"{CHOSEN} SELECT n.metric, r.{BESIDE[column]}, r.seed, {treatment} AS who, avg(n.value), count(*)"
        f" {source.sql} AND n.value IS NOT NULL AND {treatment} IS NOT NULL AND r.seed IS NOT NULL GROUP BY ALL",
        source.values,
    )
    known = sorted({who for _, _, _, who, _, _ in rows})
    for name in names:
        if name not in known:
            there = f"there are {listed(known)}" if known else "there are none in these runs"
            raise UserError(f"no {column} {name!r}: {nearest(name, known, there)}")
    several = sorted({who for _, _, _, who, _, count in rows if count > 1 and (not names or who in names)})
    if several:
        other = "attack" if column == "defense" else "defense"
        choose = "choose one with --where, so that each has one value for each setting and seed"
        raise UserError(f"{listed(several)} ran in several ways against the same {other}: {choose}")
    values: dict[str, dict[tuple[Block, int], dict[str, float]]] = {}
    for metric, block, seed, who, value, _ in rows:
        values.setdefault(metric, {}).setdefault((block, seed), {})[who] = value
    found = [Treatments(item, values[item.name]) for item in results.metrics() if item.name in values]
    directed = [item for item in found if item.metric.higher_is_better is not None]
    if not directed:
        raise UserError(
            "no numbers are left to compare: name a --metric that has a better direction, and rows that have it"
        )
    return directed


def rounded(value: float) -> float:
    """A value to so many digits that two ways to compute it agree."""
    return float(f"{value:.{DIGITS}g}")


def names_of(table: Treatments) -> list[str]:
    """The treatments of a table, sorted."""
    return sorted({name for by_name in table.values.values() for name in by_name})


def ranks_of(values: Sequence[float], *, largest_first: bool = False) -> list[float]:
    """The rank of each value, the smallest 1 unless the largest is to be; equal ones share the mean of their ranks.

    >>> ranks_of([0.9, 0.1, 0.5, 0.5]), ranks_of([0.9, 0.1], largest_first=True)
    ([4.0, 1.0, 2.5, 2.5], [1.0, 2.0])
    """
    signed = sorted(-value if largest_first else value for value in values)
    place = {value: signed.index(value) for value in set(signed)}
    times = Counter(signed)
    found = (-value if largest_first else value for value in values)
    return [place[value] + (times[value] + 1) / 2 for value in found]
