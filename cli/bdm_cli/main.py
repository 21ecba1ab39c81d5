"""Entry point ``bdm``. Nothing heavy is imported here: the commands import what they need when they run."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from bdm_cli import import_, plugins, report, results, run, scan
from bdm_cli.console import Commands
from bdm_core.machine.interrupts import raise_on_sigterm

app = typer.Typer(
    name="bdm",
    cls=Commands,
    help="Backdoor learning: attack, defend, score and compare in one command.",
    epilog="Two minutes: bdm run --attack villan --defense elijah",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(run.run)
app.command("scan")(scan.scan)
app.command("results")(results.results)
app.command("report")(report.report)
app.command("import")(import_.import_checkpoint)
app.add_typer(plugins.app, name="plugins")


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"bdm {version('bdm')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Backdoor learning: attack, defend, score and compare in one command."""


def main() -> None:
    """Run the command line.

    SIGTERM ends a run as Ctrl-C does, with an honest record. OpenMP's threads spin for a short time only while they
    wait, unless the user's environment says otherwise: where another program wants a core, threads that spin for long
    make small networks over ten times slower.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "30000")
    raise_on_sigterm()
    app()
