"""``bdm report``: write ``report.html`` of a finished run again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from bdm_cli.around import at_work, write_report
from bdm_cli.console import out
from bdm_cli.options import Common, takes


@dataclass(frozen=True, kw_only=True)
class ReportOptions(Common):
    """The options of ``bdm report``."""

    folder: Annotated[Path, typer.Argument(help="Folder of a run, or folder of runs.", metavar="DIR")]


@takes(ReportOptions)
def report(options: ReportOptions) -> None:
    """Write report.html for one run, or for every run in a folder."""
    from bdm_results.rows import runs_in

    with at_work():
        views = runs_in(options.folder)
    for view in views:
        out().print(Text(str(write_report(view))), soft_wrap=True)
