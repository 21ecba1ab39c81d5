"""What one can select, filter and group by: the columns of runs and numbers, and parameters by their owner's name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from bdm_core.errors import UserError, nearest

RUN_COLUMNS = {
    "attack": "text",
    "detect": "text",
    "purify": "text",
    "repair": "text",
    "defense": "text",
    "task": "text",
    "model": "text",
    "data": "text",
    "data_share": "number",
    "triggered_share": "number",
    "repair_always": "boolean",
    "device": "text",
    "seed": "integer",
    "started": "text",
}
"""What is known of a run as a whole, with its type. ``defense`` is who detects, purifies and repairs, together."""
NUMBER_COLUMNS = {
    "row": "text",
    "role": "text",
    "metric": "text",
    "value": "number",
    "stderr": "number",
    "n": "integer",
    "on": "text",
    "higher_is_better": "boolean",
    "label": "text",
    "share": "boolean",
    "measures": "text",
    "verdict": "text",
}
"""What is known of one number."""
ROW_ORDER = ("clean", "clean under trigger", "backdoored", "purified", "repaired", "model")
"""The rows of a result table, in order; ``model`` is that of a scan."""
FINAL_ROWS = ("repaired", "purified", "backdoored", "model")
"""The row ``final`` is the first of these that a run has: the model as the defense leaves it."""
FINAL = "final"
BESIDE = ("beside_defense", "beside_attack")
"""Columns of the index with names for all that runs have in common beside their defense, or beside their attack."""


class Pairs(StrEnum):
    """What one pair of a comparison of two defenses is."""

    settings = "settings"
    """An attack with its parameters, model and data: the means over the seeds that both defenses have."""
    seeds = "seeds"
    """One seed of such a setting. Seeds of one setting are no independent settings: the answer holds for these only."""


@dataclass(frozen=True)
class Column:
    """One column: how SQL gets it, and its type.

    Attributes:
        name: as the user gives it.
        sql: an expression over the tables ``n`` (numbers) and ``r`` (runs).
        kind: ``text``, ``number``, ``integer`` or ``boolean``.
        parameter: the full name, for a parameter.
    """

    name: str
    sql: str
    kind: str
    parameter: str = ""


CONTROL = "none"
"""The defense of an attacked model that nobody defends: with ``--defense none``, or without a defense."""


def defense_of(facts: dict[str, Any]) -> str | None:
    """Who defends, in one name: ``elijah``, ``ufid + fine-tune`` for a detector and another one's repair, or ``none``.

    >>> defense_of({"attack": "villan", "detect": "ufid", "repair": "fine-tune"}), defense_of({"attack": "villan"})
    ('ufid + fine-tune', 'none')
    """
    names = dict.fromkeys(facts.get(part) for part in ("detect", "purify", "repair"))
    control = None if facts.get("attack") is None else CONTROL  # a scan without a detector is no control
    return " + ".join(name for name in names if isinstance(name, str)) or control


class Columns:
    """All columns of a folder of runs.

    Args:
        parameters: full names of the parameters (``attack:villan.poison_rate``) with their types.
    """

    def __init__(self, parameters: dict[str, str]) -> None:
        self.parameters = parameters
        overruled = {"detect", "defense"}  # in a scan by the one detector that gave the number
        runs = {
            name: Column(name, f'coalesce(n.detector, r."{name}")' if name in overruled else f'r."{name}"', kind)
            for name, kind in RUN_COLUMNS.items()
        }
        numbers = {name: Column(name, f'n."{name}"', kind) for name, kind in NUMBER_COLUMNS.items()}
        self.known = {"run": Column("run", "r.folder", "text"), **runs, **numbers}

    def find(self, name: str) -> Column:
        """The column of this name: a fixed one, a parameter by its full name, or by its last part if only one has it.

        Raises:
            UserError: there is none, or there are several parameters of this name.
        """
        column = self.known.get(name.lower())
        if column is not None:
            return column
        if name in self.parameters:
            return self._parameter(name, [name])
        same = [full for full in self.parameters if full.rpartition(".")[2] == name]
        if len(same) == 1 or (same and all(full.startswith("attack:") for full in same)):  # a run has one attack
            return self._parameter(name, same)
        if same:
            listed = ", ".join(same[:4]) + (", ..." if len(same) > 4 else "")
            raise UserError(f"column {name!r} may be {listed}: give the whole name")
        every = [*self.known, *self.parameters, *(full.rpartition(".")[2] for full in self.parameters)]
        some = ", ".join(["attack", "defense", "row", "seed", *list(self.parameters)[:1]])
        raise UserError(f"no column {name!r}: {nearest(name, every, f'there are {some}, ...')}")

    def _parameter(self, name: str, full: list[str]) -> Column:
        kinds = {self.parameters[item] for item in full}
        kind = kinds.pop() if len(kinds) == 1 else "text"
        names = ", ".join(map(quoted, full))
        text = f"(SELECT p.text FROM parameters p WHERE p.cell = r.cell AND p.name IN ({names}))"
        casts = {"number": "DOUBLE", "boolean": "BOOLEAN"}
        sql = f"TRY_CAST({text} AS {casts[kind]})" if kind in casts else text
        return Column(name, sql, kind, full[0])


def quoted(text: str) -> str:
    """A text as a constant of SQL."""
    return "'" + text.replace("'", "''") + "'"


def name_of(text: str) -> str:
    """A name in SQL: anything, between double quotes."""
    return '"' + text.replace('"', '""') + '"'


def row_place(row: Any) -> tuple[int, str]:
    """Where a row stands in a table."""
    return (ROW_ORDER.index(row), "") if row in ROW_ORDER else (len(ROW_ORDER), str(row))


def natural(text: str) -> list[tuple[int, int, str]]:
    """What to sort texts by, so that ``attack2`` stands before ``attack10``."""
    parts = re.split(r"([0-9]+)", text)
    return [(1, int(part), "") if place % 2 else (0, 0, part) for place, part in enumerate(parts)]


def listed(names: Iterable[str], most: int = 6) -> str:
    """Names in a sentence, at most so many."""
    every = list(names)
    return ", ".join(every[:most]) + (f" and {len(every) - most} more" if len(every) > most else "")
