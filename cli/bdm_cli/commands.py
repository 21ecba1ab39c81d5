"""The classes of bdm's commands: expected failures and wrong usage are one line and an exit code."""

from __future__ import annotations

import errno
import functools
import inspect
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from bdm_cli.console import one_line, prepare_terminal, say, show_traceback
from bdm_cli.interrupts import exit_code
from bdm_core.errors import BdmError, StageError

TRACEBACK = "BDM_TRACEBACK"
"""Environment variable: if set, expected errors show their traceback too, like ``--debug``."""
CONTINUES = ("run", "scan", "sweep", "calibrate")
"""Commands that continue where they were interrupted."""


def debug(ctx: typer.Context, wanted: bool) -> bool:
    """Remember that ``--debug`` was given, for the whole command."""
    ctx.find_root().meta["debug"] = wanted or ctx.find_root().meta.get("debug", False)
    return wanted


REPEATABLE = frozenset({"--out"})
"""Scripts append where a result is to lie to a command line that names a place already: no result depends on it."""


class _Parameters:
    """Mixed into a command: what Typer does with its parameters, without pydantic where it is not needed.

    Loading pydantic takes longer than ``bdm plugins list`` does. Flags that were not given are False; texts are taken
    as they are.
    """

    def get_params(self, ctx: Any) -> Any:
        """The command's parameters."""
        parameters = super().get_params(ctx)  # type: ignore[misc]
        for parameter in parameters:
            if getattr(parameter, "is_flag", False) and parameter.metavar is None:
                parameter.metavar = ""  # a flag takes no value: the help must not look as if it took one
            if getattr(parameter, "is_flag", False) and parameter.default is None:
                parameter.default = False
            kind = getattr(getattr(parameter, "type_descriptor", None), "annotation", None)
            if kind is Path and "process_value" not in vars(parameter):
                parameter.process_value = functools.partial(_path, parameter, parameter.process_value)
            if kind is str and parameter.callback is None and "process_value" not in vars(parameter):
                parameter.process_value = functools.partial(_text, parameter, parameter.process_value)
        return parameters


def _text(parameter: Any, otherwise: Any, ctx: Any, value: Any) -> Any:
    given = isinstance(value, str) or (value is None and not parameter.required)
    return value if given else otherwise(ctx, value)


def _path(parameter: Any, otherwise: Any, ctx: Any, value: Any) -> Any:
    """A path; an empty one is not the current folder but a variable of a script that was not set."""
    if value == "":
        name = max(parameter.opts, key=len) if parameter.param_type_name == "option" else parameter.metavar
        ctx.fail(f"{name} is empty: name a file or folder, or leave it out")
    return otherwise(ctx, value)


class Command(_Parameters, TyperCommand):
    """A command. An option that takes one value is given once, but for places: of these the last one counts."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        if self.help:  # paragraphs as lines: a terminal's width breaks them, not that of the docstring
            self.help = "\n\n".join(" ".join(part.split()) for part in inspect.cleandoc(self.help).split("\n\n"))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse; raises a usage error for an option that is given twice."""
        try:
            _, _, order = self.make_parser(ctx).parse_args(args=list(args))
        except typer.TyperException as error:
            error.ctx = ctx  # type: ignore[attr-defined]
            raise
        singles = [
            option
            for option in order
            if option.param_type_name == "option"
            and not getattr(option, "multiple", False)
            and not getattr(option, "is_flag", False)
            and not REPEATABLE.intersection(option.opts)
        ]
        for option, count in Counter(singles).items():
            if count > 1:
                ctx.fail(f"{max(option.opts, key=len)} is given {count} times: it takes one value")
        rest: list[str] = super().parse_args(ctx, args)
        return rest


class Group(_Parameters, TyperGroup):
    """A group of commands; without one it prints its help."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse; prints the help and ends with 2 if there is nothing to parse."""
        if not args and not ctx.resilient_parsing:
            text = ctx.get_help()
            if text:
                print(text)
            ctx.exit(2)
        rest: list[str] = super().parse_args(ctx, args)
        return rest


class Commands(Group):
    """The top-level group: it turns expected failures into one line and an exit code."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, **extra: Any) -> Any:
        """Run the command line and exit. Wrong usage is one line and exit code 2."""
        prepare_terminal()
        extra["standalone_mode"] = False
        try:
            code = super().main(args, *rest, **extra)
        except typer.Abort:
            say("aborted")
            code = 1
        except typer.TyperException as error:
            say(f"error: {one_line(error.format_message()).removesuffix('.')}{_help_of(error)}")
            code = error.exit_code
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command.

        A :class:`BdmError` ends with its exit code, an error of the operating system with 2, Ctrl-C with 130 and
        SIGTERM with 143. Anything else is a defect and passes through with its traceback.
        """
        try:
            return super().invoke(ctx)
        except BdmError as error:
            hidden = isinstance(error, StageError) and error.__cause__ is not None
            raise _ended(ctx, error, one_line(str(error)), error.exit_code, hint=hidden) from None
        except KeyboardInterrupt as error:
            kept = ": finished stages are kept; the same command continues where this one stopped"
            say("interrupted" + (kept if ctx.invoked_subcommand in CONTINUES else ""))
            raise typer.Exit(exit_code(error)) from None
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise
            raise _ended(ctx, error, one_line(_reason(error)), 2, hint=error.errno is None) from None


def _ended(ctx: Any, error: Exception, message: str, code: int, *, hint: bool) -> typer.Exit:
    shown = bool(os.environ.get(TRACEBACK) or ctx.find_root().meta.get("debug"))
    if shown:
        show_traceback(error)
    say(f"error: {message}{' (--debug shows where)' if hint and not shown else ''}")
    return typer.Exit(code)


def _reason(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        from bdm_core.store.store import disk_error

        return str(disk_error(error))
    return f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error)


def _help_of(error: Exception) -> str:
    ctx = getattr(error, "ctx", None)
    return f" (see {ctx.command_path} --help)" if ctx is not None else ""
