"""The options of the commands, one record for each command; Typer sees a record's fields as options.

An option is a field ``Annotated[TYPE, typer.Option(...)]`` of a frozen dataclass, and a command is a function of one
such record.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from bdm_cli.commands import debug

Options = TypeVar("Options")


def takes(record: type[Options]) -> Callable[[Callable[[Options], None]], Callable[..., None]]:
    """Let a function of an option record be a command.

    Args:
        record: a dataclass whose fields are all annotated with ``typer.Option`` or ``typer.Argument``.
    """
    hints = typing.get_type_hints(record, include_extras=True)
    parameters = []
    bases = record.__mro__
    fields = dataclasses.fields(record)  # type: ignore[arg-type]
    for field in sorted(fields, key=lambda field: _first(bases, field.name)):  # a command's own options stand first
        default = inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default
        kind = inspect.Parameter.KEYWORD_ONLY
        parameters.append(inspect.Parameter(field.name, kind, default=default, annotation=hints[field.name]))

    def decorate(command: Callable[[Options], None]) -> Callable[..., None]:
        @functools.wraps(command)
        def flat(**given: Any) -> None:
            command(record(**given))

        del flat.__dict__["__wrapped__"]  # Typer reads the signature, not the function within
        flat.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        flat.__annotations__ = {name: hints[name] for name in hints}
        return flat

    return decorate


def _first(bases: tuple[type, ...], name: str) -> int:
    return next(place for place, base in enumerate(bases) if name in vars(base).get("__annotations__", {}))


Task = Annotated[str | None, typer.Option(help="Task tag, e.g. unconditional-image-generation.", metavar="TASK")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else on standard output.")]
Debug = Annotated[bool, typer.Option("--debug", callback=debug, help="Show the traceback of an error.")]
Out = Annotated[Path, typer.Option("--out", help="Folder for the store and the run folders.", metavar="DIR")]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.", metavar="DEVICE")]
Seed = Annotated[int | None, typer.Option(help="Seed of the whole run (default 0).", metavar="NUMBER")]
Kit = Annotated[str | None, typer.Option(help="The task's kit, if several are installed.", metavar="NAME")]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", help="A plugin's parameter, e.g. attack:villan.poison_rate=0.2.", metavar="KIND:NAME.P=V"),
]


@dataclass(frozen=True, kw_only=True)
class Common:
    """What every command has."""

    debug: Debug = False


@dataclass(frozen=True, kw_only=True)
class Running(Common):
    """What ``bdm run`` and ``bdm scan`` share."""

    data: Annotated[str | None, typer.Option(help="Built-in name, folder, or hf:org/name@commit.", metavar="REF")] = (
        None
    )
    task: Task = None
    kit: Kit = None
    sets: Sets = None
    config: Annotated[
        Path | None, typer.Option(help="YAML file with options; the command line wins.", metavar="FILE")
    ] = None
    seed: Seed = None
    device: Device = None
    data_share: Annotated[
        float | None,
        typer.Option(
            help="Share of clean rows that the defender is allowed, of the training rows, (0, 1] (default 0.1); "
            "classifiers: at most what the reserve holds."
        ),
    ] = None
    observer: Annotated[
        list[str] | None, typer.Option(help="Also tell an observer, e.g. tensorboard. Repeatable.", metavar="NAME")
    ] = None
    out: Out = Path("runs")
    name: Annotated[str | None, typer.Option(help="Name of the run's folder below --out.", metavar="NAME")] = None
    as_json: Json = False
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False
    no_report: Annotated[bool, typer.Option("--no-report", help="Write no report.html.")] = False

    def given(self) -> dict[str, Any]:
        """The options that are fields of a run's specification."""
        names = ("data", "task", "kit", "seed", "device", "data_share")
        return {name: getattr(self, name) for name in names} | {"observers": self.observer or None}


@dataclass(frozen=True, kw_only=True)
class BuiltInOptions(Common):
    """The options of ``bdm models`` and ``bdm data``."""

    task: Task = None
    as_json: Json = False
