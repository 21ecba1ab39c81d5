"""What every command prints with: tables on standard output, messages on standard error, and expected errors."""

from __future__ import annotations

import errno
import json
import os
import shlex
import sys
from typing import Any

import typer
from rich.console import Console
from typer.core import TyperCommand, TyperGroup

from bdm_core.errors import BdmError, StageError
from bdm_core.machine.interrupts import exit_code

TRACEBACK = "BDM_TRACEBACK"
"""Environment variable: if set, expected errors keep their traceback too, for authors of plugins."""


def out() -> Console:
    """The console for results: standard output, as wide as the terminal (80 columns without one)."""
    return Console(highlight=False)


def say(message: str) -> None:
    """One line on standard error. A half-drawn progress line of the terminal is cleared first."""
    clear = "\r\x1b[2K" if sys.stderr.isatty() else ""
    print(clear + message, file=sys.stderr, flush=True)


def warn(message: str) -> None:
    """One ``warning:`` line on standard error."""
    say(f"warning: {one_line(message)}")


def one_line(message: str) -> str:
    """A message without line breaks."""
    return " ".join(message.split())


def print_json(document: Any) -> None:
    """One JSON document on standard output."""
    print(json.dumps(document, indent=2, ensure_ascii=False))


def command_line() -> str:
    """The command as given, quoted for a shell, with what looks like a credential hidden."""
    from bdm_core.run.record import redact

    return "bdm " + redact(shlex.join(redact(argument) for argument in sys.argv[1:]))


class PlainFlags:
    """Mixed into a command: flags that were not given are False.

    For a flag that is None Typer would import pydantic, which takes longer than ``bdm plugins list`` does.
    """

    def get_params(self, ctx: Any) -> Any:
        """The command's parameters, every flag with a default."""
        parameters = super().get_params(ctx)  # type: ignore[misc]
        for parameter in parameters:
            if getattr(parameter, "is_flag", False) and parameter.default is None:
                parameter.default = False
        return parameters


class LightCommand(PlainFlags, TyperCommand):
    """A command that starts without pydantic, as long as all its parameters are flags."""


class LightGroup(PlainFlags, TyperGroup):
    """A group that starts without pydantic."""


class Commands(LightGroup):
    """The top-level group: it turns expected failures into one line and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command.

        A :class:`BdmError` ends with its exit code and a full disk with 2; Ctrl-C with 130 and SIGTERM with 143.
        Anything else is a defect and passes through with its traceback.
        """
        try:
            return super().invoke(ctx)
        except BdmError as error:
            if os.environ.get(TRACEBACK):
                raise
            hint = f" ({TRACEBACK}=1 shows where)" if isinstance(error, StageError) and error.__cause__ else ""
            say(f"error: {one_line(str(error))}{hint}")
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt as error:
            kept = ": finished stages are kept; the same command continues where this one stopped"
            say("interrupted" + (kept if ctx.invoked_subcommand in ("run", "scan") else ""))
            raise typer.Exit(exit_code(error)) from None
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            from bdm_core.store.store import disk_error

            full = disk_error(error)
            say(f"error: {one_line(str(full))}")
            raise typer.Exit(full.exit_code) from None
