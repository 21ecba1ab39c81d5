"""Installed plugins by kind, name and task, and the table of ``bdm plugins list``."""

from __future__ import annotations

import re
import textwrap
from itertools import combinations
from typing import TYPE_CHECKING

from rich.text import Text

from bdm_cli.console import say

if TYPE_CHECKING:
    from rich.console import Console

    from bdm_core.discovery.candidates import Candidate

WITH_TASKS = 100
"""From so many columns on the table has the tasks."""
WITH_DISTRIBUTION = 120
"""From so many columns on it has the distributions."""
HOW_TO_INSTALL = "install its package with pip, or in a clone of bdm all of them by make setup"
_PREFIX = re.compile(r"bdm \w+: ")
NARROW = 70
"""Below so many columns it has no versions."""


def select(kind: str | None, task: str | None) -> list[Candidate]:
    """The installed plugins of a kind that work for a task.

    Raises:
        UserError: there is no such kind, or no installed plugin is for the task.
    """
    from bdm_core.discovery.candidates import TYPE_GROUPS, installed
    from bdm_core.errors import UserError, nearest

    if kind is not None and kind not in TYPE_GROUPS.values():
        raise UserError(f"no kind {kind!r}: kinds are {', '.join(TYPE_GROUPS.values())}")
    known = sorted({tag for item in installed() for tag in item.tasks})
    if task is not None and task not in known:
        hint = nearest(task, known, f"tasks are {', '.join(known) or 'none'}")
        raise UserError(f"no installed plugin is for a task {task!r}; {hint}")
    return installed(kind, task)


def candidates_of(name: str, task: str | None = None) -> list[Candidate]:
    """The installed plugins that ``[KIND:]NAME`` or ``[KIND:][DISTRIBUTION:]NAME`` means: one for each task it serves.

    Raises:
        UserError: no plugin has the name, or several kinds have it, or several plugins for one task.
    """
    from bdm_core.discovery.candidates import TYPE_GROUPS, find, installed, named
    from bdm_core.errors import PluginError, UserError, nearest

    kind, colon, rest = name.partition(":")
    if not (colon and kind in TYPE_GROUPS.values()):
        rest, plain = name, name.rpartition(":")[2]
        kinds = sorted({item.kind for item in installed() if item.name == plain})
        if not kinds:
            hint = nearest(plain, (item.name for item in installed()), HOW_TO_INSTALL, cutoff=0.5)
            raise PluginError(f"no plugin {name!r} is installed; {hint} (bdm plugins list)")
        if len(kinds) > 1:
            choices = " or ".join(f"{one}:{plain}" for one in kinds)
            raise UserError(f"several kinds of plugin are called {plain!r}: choose {choices}")
        kind = kinds[0]
    found = named(kind, rest)
    return found if task is None and not _clashing(found) else [find(kind, rest, task)]


def print_list(console: Console, candidates: list[Candidate]) -> None:
    """Print a table as wide as the terminal; the summaries wrap."""
    clashes = _clashing(candidates)
    widest = console.width
    rows = []
    for item in candidates:
        name = f"{item.distribution}:{item.name}" if item.id in clashes else item.name
        summary = _PREFIX.sub("", item.summary, count=1) if _PREFIX.match(item.summary) else item.summary
        unusual = item.distribution not in (f"bdm-{item.kind}-{item.name}", name.partition(":")[0])
        row = {"kind": item.kind, "name": name}
        if widest >= NARROW:
            row["version"] = item.version
        if widest >= WITH_DISTRIBUTION:
            row["distribution"] = item.distribution
        elif unusual:
            summary += f" [{item.distribution}]"
        if widest >= WITH_TASKS:
            row["tasks"] = ", ".join(sorted(item.tasks)) or "any"
        rows.append({**row, "summary": summary})
    columns = list(rows[0])[:-1]
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in columns}
    room = max(20, widest - sum(widths.values()) - 2 * len(columns))
    header = "  ".join([*(name.ljust(widths[name]) for name in columns), "summary"])
    lines = [header, "─" * min(widest, sum(widths.values()) + 2 * len(columns) + room)]
    for row in rows:
        parts = textwrap.wrap(row["summary"], room) or [""]
        first = "  ".join([*(row[name].ljust(widths[name]) for name in columns), parts[0]])
        lines.append(first.rstrip())
        indent = " " * (sum(widths.values()) + 2 * len(columns))
        lines += [indent + part for part in parts[1:]]
    console.print(Text("\n".join(lines)), soft_wrap=True)
    for clash in sorted(clashes):
        say(f"note: several distributions have {clash}: choose one as DISTRIBUTION:NAME")


def _clashing(candidates: list[Candidate]) -> set[str]:
    """``kind:name`` of plugins that one run could mean both of: they share a task, or one works for every task."""
    by_id: dict[str, list[Candidate]] = {}
    for item in candidates:
        by_id.setdefault(item.id, []).append(item)
    return {
        name
        for name, items in by_id.items()
        if any(not (a.tasks and b.tasks) or a.tasks & b.tasks for a, b in combinations(items, 2))
    }
