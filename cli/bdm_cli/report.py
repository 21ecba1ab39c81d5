"""``bdm report``: write ``report.html`` of a finished run again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from bdm_cli.console import out
from bdm_cli.options import write_report


def report(
    folder: Annotated[Path, typer.Argument(help="Folder of a run, or folder of runs.", metavar="DIR")],
) -> None:
    """Write report.html for one run, or for every run in a folder."""
    from bdm_core.run.record import runs_in

    for view in runs_in(folder):
        out().print(Text(str(write_report(view))), soft_wrap=True)
