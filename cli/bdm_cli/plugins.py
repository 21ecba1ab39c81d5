"""``bdm plugins``: what is installed, what it does, whether it works; add, remove and start one."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from bdm_cli.commands import Command, Group
from bdm_cli.console import foreign_code, out, print_json, say
from bdm_cli.options import Common, Json, Task, takes

app = typer.Typer(
    cls=Group, help="Installed plugins: list, show, check, install, uninstall, new.", no_args_is_help=True
)
PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}
"""Context settings of commands that hand their options to pip."""


@dataclass(frozen=True, kw_only=True)
class ListOptions(Common):
    """The options of ``bdm plugins list``."""

    kind: Annotated[
        str | None, typer.Argument(help="attack, defense, metric, kit, observer or executor.", metavar="KIND")
    ] = None
    task: Task = None
    as_json: Json = False


@dataclass(frozen=True, kw_only=True)
class ShowOptions(Common):
    """The options of ``bdm plugins show``."""

    name: Annotated[str, typer.Argument(help="NAME, or KIND:NAME if several kinds have it.", metavar="[KIND:]NAME")]
    task: Task = None
    as_json: Json = False


@dataclass(frozen=True, kw_only=True)
class CheckOptions(Common):
    """The options of ``bdm plugins check``."""

    names: Annotated[list[str] | None, typer.Argument(help="Only these.", metavar="[KIND:]NAME...")] = None
    task: Task = None


@dataclass(frozen=True, kw_only=True)
class NewOptions(Common):
    """The options of ``bdm plugins new``."""

    kind: Annotated[str, typer.Argument(help="attack, defense, metric, kit or observer.", metavar="KIND")]
    name: Annotated[str, typer.Argument(help="The plugin's name: a-z, 0-9 and -.", metavar="NAME")]
    task: Annotated[
        str | None,
        typer.Option(
            help="Task that it works for (default: of the kit of highest precedence; for a kit its name).",
            metavar="TASK",
        ),
    ] = None
    out: Annotated[Path, typer.Option("--out", help="Where to write the package's folder.", metavar="DIR")] = Path()


@app.command("list", cls=Command)
@takes(ListOptions)
def list_plugins(options: ListOptions) -> None:
    """List installed plugins, all or of one KIND, from their metadata.

    Nothing of them is imported, so broken ones are listed too.
    """
    from bdm_cli.plugin_list import print_list, select

    candidates = select(options.kind, options.task)
    if options.as_json:
        names = ("kind", "name", "version", "distribution", "target", "summary")
        print_json(
            [{**{name: getattr(item, name) for name in names}, "tasks": sorted(item.tasks)} for item in candidates]
        )
    elif not candidates:
        out().print("no plugins are installed: in a clone of bdm, make setup installs all of its own")
    else:
        print_list(out(), candidates)


@app.command("show", cls=Command)
@takes(ShowOptions)
def show_plugin(options: ShowOptions) -> None:
    """Load a plugin and show its tasks, paper, hooks, what it needs, parameters and presets.

    Where several of one name work for different tasks, all are shown, as a list with --json.
    """
    from bdm_cli.plugin_list import candidates_of
    from bdm_cli.plugin_page import describe, print_page

    with foreign_code():
        pages = [describe(candidate) for candidate in candidates_of(options.name, options.task)]
    if options.as_json:
        print_json(pages[0] if len(pages) == 1 else pages)
        return
    for page in pages:
        print_page(out(), page)


@app.command("check", cls=Command)
@takes(CheckOptions)
def check_plugins(options: CheckOptions) -> None:
    """Load each plugin in turn and say in one line what is wrong with it. Exit code 1 if one is broken."""
    from bdm_cli.plugin_check import complaint_about
    from bdm_cli.plugin_list import candidates_of, select

    broken = 0
    console = out()
    names = options.names or []
    named = [candidate for name in names for candidate in candidates_of(name, options.task)]
    for candidate in named or select(None, options.task):
        label = f"{candidate.id} ({candidate.distribution} {candidate.version})"
        complaint = complaint_about(candidate)
        if complaint:
            broken += 1
            console.print(Text.assemble(("broken ", "bold red"), f"{label}: {complaint}"), soft_wrap=True)
        else:
            console.print(Text.assemble(("ok     ", "bold green"), label), soft_wrap=True)
    if broken:
        raise typer.Exit(1)


@app.command("install", cls=Command, context_settings=PASS_ON)
def install(ctx: typer.Context) -> None:
    """Install packages with this interpreter's pip; arguments and options are pip's.

    A plugin is code with your rights: install only what you trust.
    """
    _pip("install", ctx.args)


@app.command("uninstall", cls=Command, context_settings=PASS_ON)
def uninstall(ctx: typer.Context) -> None:
    """Uninstall packages with this interpreter's pip; arguments and options are pip's."""
    _pip("uninstall", ctx.args)


@app.command("new", cls=Command)
@takes(NewOptions)
def new(options: NewOptions) -> None:
    """Write a package with a small working plugin and its tests, to start from."""
    from bdm_cli.scaffold import write_package

    folder = write_package(options.kind, options.name, options.out, options.task)
    console = out()
    for line in (
        f"wrote {folder}",
        f"  pip install -e '{folder}[test]'",
        f"  python -m pytest {folder}",
        f"  bdm plugins show {options.kind}:{options.name}",
    ):
        console.print(Text(line), soft_wrap=True)


def _pip(action: str, arguments: list[str]) -> None:
    import shlex

    command = [sys.executable, "-m", "pip", action, *arguments]
    say(shlex.join(command))
    raise typer.Exit(subprocess.run(command).returncode)
