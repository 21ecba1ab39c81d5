"""``bdm plugins``: what is installed, what it does, whether it works; add, remove and start one."""

from __future__ import annotations

import difflib
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from bdm_cli.console import LightCommand, LightGroup, one_line, out, print_json, say

if TYPE_CHECKING:
    from rich.console import Console

    from bdm_core.discovery.candidates import Candidate

app = typer.Typer(
    cls=LightGroup, help="Installed plugins: list, show, check, install, uninstall, new.", no_args_is_help=True
)
PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}
"""Context settings of commands that hand their options to pip."""


@app.command("list", cls=LightCommand, context_settings={"allow_extra_args": True}, options_metavar="[OPTIONS] [KIND]")
def list_plugins(
    ctx: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
) -> None:
    """List installed plugins, all or of one KIND, from their metadata.

    Nothing of them is imported, so broken ones are listed too.
    """  # KIND is taken from ctx.args, because Typer loads pydantic for every parameter that is no flag
    from bdm_core.discovery.candidates import TYPE_GROUPS, installed
    from bdm_core.errors import UserError

    kind = ctx.args[0] if ctx.args else None
    if kind is not None and kind not in TYPE_GROUPS.values():
        raise UserError(f"no kind {kind!r}: kinds are {', '.join(TYPE_GROUPS.values())}")
    candidates = installed(kind)
    if as_json:
        names = ("kind", "name", "version", "distribution", "target", "summary")
        print_json([{name: getattr(item, name) for name in names} for item in candidates])
    elif not candidates:
        out().print("no plugins are installed: try bdm plugins install bdm-attack-villan")
    else:
        _print_list(out(), candidates)


def _print_list(console: Console, candidates: list[Candidate]) -> None:
    """A table that fits 80 columns; where there is room, or a kind and a name leave it open, with the distribution."""
    counts = Counter(item.id for item in candidates)
    names = [f"{item.distribution}:{item.name}" if counts[item.id] > 1 else item.name for item in candidates]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="bold")
    with_distribution = console.width >= 110
    for name in ("kind", "name", "version", *(["distribution"] if with_distribution else [])):
        table.add_column(name, no_wrap=True)
    table.add_column("summary", ratio=1)
    for name, item in zip(names, candidates, strict=True):
        place = [item.distribution] if with_distribution else []
        summary = item.summary.removeprefix(f"bdm {item.kind}: ")
        if not with_distribution and item.distribution not in (f"bdm-{item.kind}-{item.name}", name.partition(":")[0]):
            summary += f" [{item.distribution}]"
        table.add_row(*map(Text, (item.kind, name, item.version, *place, summary)))
    console.print(table)
    for clash in (name for name, count in counts.items() if count > 1):
        say(f"note: several distributions have {clash}: choose one as DISTRIBUTION:NAME")


@app.command("show")
def show_plugin(
    name: Annotated[str, typer.Argument(help="NAME, or KIND:NAME if several kinds have it.", metavar="[KIND:]NAME")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Load one plugin and show its tasks, paper, hooks, parameters and presets."""
    from bdm_cli.plugin_page import describe, print_page

    page = describe(candidate_of(name))
    if as_json:
        print_json(page)
    else:
        print_page(out(), page)


@app.command("check")
def check_plugins(
    names: Annotated[list[str] | None, typer.Argument(help="Only these.", metavar="[[KIND:]NAME]...")] = None,
) -> None:
    """Load each plugin in turn and say in one line what is wrong with it. Exit code 1 if one is broken."""
    from bdm_cli.plugin_page import describe
    from bdm_core.discovery.candidates import installed
    from bdm_core.errors import BdmError

    broken = 0
    console = out()
    for candidate in [candidate_of(name) for name in names] if names else installed():
        label = f"{candidate.id} ({candidate.distribution} {candidate.version})"
        try:
            describe(candidate)
        except BdmError as error:
            broken += 1
            console.print(Text.assemble(("broken ", "bold red"), f"{label}: {one_line(str(error))}"), soft_wrap=True)
        else:
            console.print(Text.assemble(("ok     ", "bold green"), label), soft_wrap=True)
    if broken:
        raise typer.Exit(1)


@app.command("install", context_settings=PASS_ON)
def install(ctx: typer.Context) -> None:
    """Install packages with this interpreter's pip; arguments and options are pip's.

    A plugin is code with your rights: install only what you trust.
    """
    _pip("install", ctx.args)


@app.command("uninstall", context_settings=PASS_ON)
def uninstall(ctx: typer.Context) -> None:
    """Uninstall packages with this interpreter's pip; arguments and options are pip's."""
    _pip("uninstall", ctx.args)


@app.command("new")
def new(
    kind: Annotated[str, typer.Argument(help="attack, defense, metric, kit or observer.", metavar="KIND")],
    name: Annotated[str, typer.Argument(help="The plugin's name: a-z, 0-9 and -.", metavar="NAME")],
    out_folder: Annotated[Path, typer.Option("--out", help="Where to write the package's folder.")] = Path(),
    task: Annotated[
        str | None,
        typer.Option(
            help="Task tag (default: unconditional-image-generation; for a kit one of its own).", metavar="TASK"
        ),
    ] = None,
) -> None:
    """Write a package with a small working plugin and its tests, to start from."""
    from bdm_cli.scaffold import write_package

    folder = write_package(kind, name, out_folder, task)
    console = out()
    console.print(Text(f"wrote {folder}"), soft_wrap=True)
    console.print(Text(f"  bdm plugins install -e {folder}"), soft_wrap=True)
    console.print(Text(f"  python -m pytest {folder}"), soft_wrap=True)
    console.print(Text(f"  bdm plugins show {kind}:{name}"), soft_wrap=True)


def candidate_of(name: str) -> Candidate:
    """The installed plugin that ``[KIND:]NAME`` or ``[KIND:][DISTRIBUTION:]NAME`` means.

    Raises:
        UserError: no plugin has the name, or several kinds have it.
    """
    from bdm_core.discovery.candidates import TYPE_GROUPS, find, installed
    from bdm_core.errors import PluginError, UserError

    kind, colon, rest = name.partition(":")
    if colon and kind in TYPE_GROUPS.values():
        return find(kind, rest)
    plain = name.rpartition(":")[2]
    kinds = sorted({item.kind for item in installed() if item.name == plain})
    if len(kinds) == 1:
        return find(kinds[0], name)
    if kinds:
        choices = " or ".join(f"{one}:{plain}" for one in kinds)
        raise UserError(f"several kinds of plugin are called {plain!r}: choose {choices}")
    near = difflib.get_close_matches(plain, [item.name for item in installed()], n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise PluginError(f"no plugin {name!r} is installed; {hint}(bdm plugins list)")


def _pip(action: str, arguments: list[str]) -> None:
    import shlex

    from bdm_core.run.record import redact

    command = [sys.executable, "-m", "pip", action, *arguments]
    say(redact(shlex.join(command)))
    raise typer.Exit(subprocess.run(command).returncode)
