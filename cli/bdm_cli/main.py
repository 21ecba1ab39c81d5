"""Entry point ``bdm``. Nothing heavy is imported here: the commands import what they need when they run."""

from __future__ import annotations

import gc
import logging
import os
from typing import Annotated

import typer

from bdm_cli import built_in, calibrate, import_, plot, plugins, report, results, run, scan, store, sweep
from bdm_cli.commands import Command, Commands
from bdm_cli.console import own_output
from bdm_cli.interrupts import raise_on_sigterm
from bdm_cli.options import Debug
from bdm_sweep.allocation import keep_freed_memory

app = typer.Typer(
    name="bdm",
    cls=Commands,
    help="Backdoor learning: attack, defend, score and compare in one command.",
    epilog="To start: bdm run --attack villan --defense elijah",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run", cls=Command)(run.run)
app.command("scan", cls=Command)(scan.scan)
app.command("sweep", cls=Command)(sweep.sweep)
app.command("results", cls=Command)(results.results)
app.command("plot", cls=Command)(plot.plot)
app.command("report", cls=Command)(report.report)
app.command("models", cls=Command)(built_in.models)
app.command("data", cls=Command)(built_in.data)
app.command("calibrate", cls=Command)(calibrate.calibrate)
app.command("store", cls=Command)(store.store)
app.command("import", cls=Command)(import_.import_checkpoint)
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
    debug: Debug = False,
) -> None:
    """Backdoor learning: attack, defend, score and compare in one command."""


def main() -> None:
    """Run the command line.

    SIGTERM ends a run as Ctrl-C does, with an honest record. OpenMP's threads spin for a short time only while they
    wait, unless the user's environment says otherwise: where another program wants a core, threads that spin for long
    make small networks over ten times slower. Freed memory is kept, see :mod:`bdm_sweep.allocation`.
    """
    keep_freed_memory()
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # looking for them fails on any damaged distribution
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "30000")
    logging.raiseExceptions = False  # a plugin's wrong log call costs its line, not a traceback
    with own_output():
        raise_on_sigterm()
        try:
            app(prog_name="bdm")
        finally:
            gc.freeze()  # the process ends: looking for garbage among all of PyTorch's objects would take half a second
