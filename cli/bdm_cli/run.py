"""``bdm run``: one attack and one defense from start to report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from bdm_cli import options, tables
from bdm_cli.console import command_line, out, print_json
from bdm_cli.numbers import seconds

if TYPE_CHECKING:
    from bdm_core.run.record import RunView


def run(
    attack: Annotated[str | None, typer.Option(help="The attack, e.g. villan.", metavar="NAME")] = None,
    defense: Annotated[
        str | None, typer.Option(help="The defense: detects and repairs as far as it can.", metavar="NAME")
    ] = None,
    detect: Annotated[str | None, typer.Option(help="Another defense for detection.", metavar="NAME")] = None,
    repair: Annotated[str | None, typer.Option(help="Another defense for repair.", metavar="NAME")] = None,
    model: Annotated[
        str | None, typer.Option(help="Built-in name, folder, or hf:org/name@commit.", metavar="REF")
    ] = None,
    data: options.DataReference = None,
    task: options.Task = None,
    kit: options.Kit = None,
    metric: Annotated[list[str] | None, typer.Option(help="A metric; repeat for more.", metavar="NAME")] = None,
    sets: options.Sets = None,
    config: options.Config = None,
    seed: options.Seed = None,
    device: options.Device = None,
    data_share: options.DataShare = None,
    triggered_share: Annotated[
        float | None,
        typer.Option(help="Share of the evaluation inputs that also get the trigger, (0, 1]; default: the kit's."),
    ] = None,
    scan_clean: Annotated[
        bool, typer.Option("--scan-clean", help="Let the detector judge the clean model too, as a control.")
    ] = False,
    out_folder: Annotated[Path, typer.Option("--out", help="Folder for the store and the run folders.")] = Path("runs"),
    name: options.Name = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    no_report: options.NoReport = False,
) -> None:
    """Attack a model, defend it, score everything and write a report.

    Giving the same command again continues an interrupted run and reuses every finished stage.
    """
    from bdm_core.errors import UserError
    from bdm_core.run.runner import run as run_cell
    from bdm_core.run.specification import load_spec

    given = {
        "attack": attack,
        "defense": defense,
        "detect": detect,
        "repair": repair,
        "model": model,
        "data": data,
        "task": task,
        "kit": kit,
        "metrics": metric or None,
        "seed": seed,
        "device": device,
        "data_share": data_share,
        "triggered_share": triggered_share,
        "scan_clean": scan_clean or None,
    }
    spec = load_spec(config, given, sets or [])
    if spec.attack is None:
        raise UserError("no attack given: add --attack NAME (bdm plugins list), or use bdm scan to judge a model")
    with options.warnings_on_terminal():
        view = run_cell(options.with_progress(spec, quiet or as_json), out_folder, name=name, command=command_line())
    if not options.leads():
        return
    if not as_json:
        show(view)
    report = None if no_report else options.write_report(view)
    if as_json:
        print_json(options.document(view, report))
    elif report is not None:
        out().print(Text(f"report   {report}"), soft_wrap=True)


def show(view: RunView) -> None:
    """Print a finished run: stages, verdicts, results, command and folder; what matters most stands last."""
    console = out()
    console.print()
    console.print(tables.stage_table(view.stages))
    console.print()
    for line in tables.verdict_lines(view):
        console.print(line, soft_wrap=not console.is_terminal)
        console.print()
    if view.results:
        console.print(tables.result_table(view.results))
        console.print()
    console.print(Text(f"time     {seconds(view.record['seconds'])}, seed {view.record['seed']}"), soft_wrap=True)
    console.print(Text(f"command  {view.record['command']}"), soft_wrap=True)
    console.print(Text(f"folder   {view.folder}"), soft_wrap=True)
