"""``bdm store``: how large the store is, what runs still reach, and the rest removed."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from bdm_cli.console import out, print_json, warn
from bdm_cli.grid import print_records
from bdm_cli.numbers import memory
from bdm_cli.options import Common, Json, takes

if TYPE_CHECKING:
    from bdm_sweep.keeping import Stage


@dataclass(frozen=True, kw_only=True)
class StoreOptions(Common):
    """The options of ``bdm store``."""

    folder: Annotated[Path, typer.Argument(help="Folder that bdm run --out wrote to.", metavar="DIR")] = Path("runs")
    prune: Annotated[bool, typer.Option("--prune", help="Remove stages that no run and no open sweep needs.")] = False
    older_than: Annotated[
        float, typer.Option(help="Only stages that nobody read or wrote for so many hours.", metavar="HOURS")
    ] = 1.0
    as_json: Json = False


@takes(StoreOptions)
def store(options: StoreOptions) -> None:
    """Show how large the store is and what runs still reach; --prune removes the rest, also while others work."""
    from bdm_core.errors import UserError
    from bdm_sweep.keeping import prune, total_size, usage

    if not 0 <= options.older_than <= 10**6:
        raise UserError(f"--older-than {options.older_than}: give hours, 0 to 1000000")
    found = usage(options.folder)
    for path in found.unreadable:
        warn(f"{path} cannot be read: it may need stages that are counted among the rest")
    kept, rest = found.of(reached=True), found.of(reached=False)
    removed = prune(found, options.folder, older_than=3600 * options.older_than) if options.prune else []
    document = {
        "store": str(found.root),
        "stages": len(found.stages),
        "bytes": total_size(found.stages),
        "reached": {"stages": len(kept), "bytes": total_size(kept)},
        "unreached": {"stages": len(rest), "bytes": total_size(rest)},
        "unfinished_bytes": found.unfinished,
        "damaged": [str(folder) for folder in found.damaged],
        "pruned": {"stages": len(removed), "bytes": total_size(removed)},
    }
    if options.as_json:
        print_json(document)
        return
    console = out()
    by_name: dict[str, list[Stage]] = defaultdict(list)
    for stage in found.stages:
        by_name[stage.name].append(stage)
    names = ["stage", "stages", "size", "reached", "rest"]
    rows = []
    for name, stages in sorted(by_name.items(), key=lambda item: -total_size(item[1])):
        reached = [stage for stage in stages if stage.reached]
        sizes = [total_size(part) for part in (stages, reached)]
        cells = [name, str(len(stages)), memory(sizes[0]), memory(sizes[1]), memory(sizes[0] - sizes[1])]
        rows.append([Text(cell) for cell in cells])
    print_records(console, names, rows, names[1:])
    console.print()
    lines = [
        f"reached     {len(kept)} stages, {memory(total_size(kept))}",
        f"the rest    {len(rest)} stages, {memory(total_size(rest))}"
        + ("" if options.prune or not rest else ": --prune removes what nobody used lately"),
        f"unfinished  {memory(found.unfinished)}: the same commands continue there",
    ]
    lines += [f"damaged     {folder}" for folder in found.damaged]
    if options.prune:
        lines.append(f"removed     {len(removed)} stages, {memory(total_size(removed))}")
    for line in lines:
        console.print(Text(line), soft_wrap=True)
