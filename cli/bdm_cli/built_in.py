"""``bdm models`` and ``bdm data``: what comes with the installed kits."""

from __future__ import annotations

import textwrap
from typing import Any

from rich.console import Console
from rich.text import Text

from bdm_cli.around import at_work
from bdm_cli.console import out, print_json
from bdm_cli.grid import print_records
from bdm_cli.options import BuiltInOptions, takes

WIDE = 150
"""From so many columns on models and data are a table; below it most cells would wrap."""
LEGEND = "* taken for its task if none is named"


@takes(BuiltInOptions)
def models(options: BuiltInOptions) -> None:
    """List built-in models: what --model and bdm scan take by name."""
    from bdm_core import api

    with at_work():
        found = api.models(options.task)
    _print(found, options)


@takes(BuiltInOptions)
def data(options: BuiltInOptions) -> None:
    """List built-in data sets: what --data takes by name."""
    from bdm_core import api

    with at_work():
        found = api.data_sets(options.task)
    _print(found, options)


def _print(items: list[dict[str, Any]], options: BuiltInOptions) -> None:
    if options.as_json:
        print_json(items)
        return
    console = out()
    if not items:
        of_task = f" for task {options.task}" if options.task else ""
        console.print(Text(f"no installed kit has any{of_task} (bdm plugins list kit)"))
        return
    if console.width < WIDE:
        _print_narrow(console, items)
        return
    names = [name for name in ("name", "task", "size", "quality", "summary") if any(item[name] for item in items)]
    rows = []
    for item in items:
        mark = "* " if item["default"] else "  "
        rows.append([Text(mark + item[name] if name == "name" else item[name]) for name in names])
    print_records(console, names, rows)
    console.print(Text(LEGEND, style="dim"))


def _print_narrow(console: Console, items: list[dict[str, Any]]) -> None:
    """A heading for each task; for each item its name and what it is, then its size and quality."""
    for task in dict.fromkeys(item["task"] for item in items):
        console.print(Text(task, style="bold"))
        for item in (item for item in items if item["task"] == task):
            head = f"{'* ' if item['default'] else '  '}{item['name']}  {item['summary']}"
            facts = "; ".join(filter(None, (item["size"], item["quality"])))
            lines = textwrap.wrap(head, console.width, subsequent_indent="      ")
            lines += textwrap.wrap(facts, console.width, initial_indent="      ", subsequent_indent="      ")
            for line in lines:
                console.print(Text(line), soft_wrap=True)
    console.print(Text(LEGEND, style="dim"))
