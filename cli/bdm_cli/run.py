"""``bdm run``: one attack and one defense from start to report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from bdm_cli import around, tables
from bdm_cli.console import command_line, out, print_json
from bdm_cli.numbers import seconds
from bdm_cli.options import Running, takes

if TYPE_CHECKING:
    from bdm_results.view import RunView


@dataclass(frozen=True, kw_only=True)
class RunOptions(Running):
    """The options of ``bdm run``."""

    attack: Annotated[str | None, typer.Option(help="The attack, e.g. villan.", metavar="NAME")] = None
    defense: Annotated[
        str | None,
        typer.Option(help="The defense: detects, purifies inputs and repairs as far as it can.", metavar="NAME"),
    ] = None
    detect: Annotated[str | None, typer.Option(help="Another defense for detection.", metavar="NAME")] = None
    purify: Annotated[str | None, typer.Option(help="Another defense for purifying inputs.", metavar="NAME")] = None
    repair: Annotated[str | None, typer.Option(help="Another defense for repair.", metavar="NAME")] = None
    model: Annotated[
        str | None, typer.Option(help="Built-in name (bdm models), folder, or hf:org/name@commit.", metavar="REF")
    ] = None
    metric: Annotated[
        list[str] | None,
        typer.Option(help="A metric; repeat for more (default: those of the task's kit).", metavar="NAME"),
    ] = None
    triggered_share: Annotated[
        float | None,
        typer.Option(help="Share of the evaluation inputs that also get the trigger, (0, 1]; default: the kit's."),
    ] = None
    scan_clean: Annotated[
        bool, typer.Option("--scan-clean", help="Let the detector judge the clean model too, as a control.")
    ] = False
    repair_always: Annotated[
        bool, typer.Option("--repair-always", help="Also repair a model that the detector calls clean.")
    ] = False


@takes(RunOptions)
def run(options: RunOptions) -> None:
    """Attack a model, defend it, score everything and write a report.

    Giving the same command again continues an interrupted run and reuses every finished stage.
    """
    from bdm_core import api
    from bdm_core.errors import UserError

    names = ("attack", "defense", "detect", "purify", "repair", "model", "triggered_share")
    given = {name: getattr(options, name) for name in names}
    given |= {name: True for name in ("scan_clean", "repair_always") if getattr(options, name)}
    fields = around.specification(options, {**given, "metrics": options.metric or None})
    if fields.get("attack") is None:
        raise UserError("no attack given: add --attack NAME (bdm plugins list), or use bdm scan to judge a model")
    with around.at_work():
        view = api.run(out=options.out, name=options.name, command=command_line(), **fields)
    if not around.leads():
        return
    if not options.as_json:
        show(view)
    with around.answer_first() as failures:
        report = None if options.no_report else failures.of(around.write_report, view)
        if options.as_json:
            print_json(around.document(view, report))
        elif report is not None:
            out().print(Text(f"report   {report}"), soft_wrap=True)


def show(view: RunView) -> None:
    """Print a finished run: stages, verdicts, results, command and folder; what matters most stands last."""
    from bdm_cli.run_models import can_be_scanned, models_of

    console = out()
    ways = {"backdoored": "", "repaired": " --row repaired"}
    console.print()
    tables.print_stages(console, view.stages)
    console.print()
    for line in tables.verdict_lines(view):
        console.print(line, soft_wrap=not console.is_terminal)
        console.print()
    if view.results:
        tables.print_results(console, view.results)
        console.print()
    console.print(Text(f"time     {seconds(view.record['seconds'])}, seed {view.record['seed']}"), soft_wrap=True)
    console.print(Text(f"command  {view.record['command']}"), soft_wrap=True)
    scannable = can_be_scanned(view)
    for row, path in models_of(view).items():
        if row in ways:
            way = f"; bdm scan {view.folder}{ways[row]}" if scannable else ""
            console.print(Text(f"model    {path}  ({row}{way})"), soft_wrap=True)
    console.print(Text(f"folder   {view.folder}"), soft_wrap=True)
