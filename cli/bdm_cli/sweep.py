"""``bdm sweep``: many attacks, defenses, models, data and seeds from one plan."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bdm_cli.analysis_options import names
from bdm_cli.console import command_line, out, print_json, say
from bdm_cli.interrupts import OutputClosed
from bdm_cli.options import Common, Device, Kit, Out, Sets, Task, takes

if TYPE_CHECKING:
    from bdm_sweep.plan import Plan
    from bdm_sweep.sweeping import Summary


@dataclass(frozen=True, kw_only=True)
class SweepOptions(Common):
    """The options of ``bdm sweep``."""

    plan: Annotated[
        Path | None, typer.Argument(help="YAML file, see docs/sweep.md; the options win.", metavar="PLAN")
    ] = None
    attack: Annotated[list[str] | None, typer.Option(help="Attacks, e.g. villan,baddiffusion.", metavar="NAMES")] = None
    defense: Annotated[list[str] | None, typer.Option(help="Defenses, e.g. elijah,terd.", metavar="NAMES")] = None
    model: Annotated[list[str] | None, typer.Option(help="Models; repeat for more.", metavar="REF")] = None
    data: Annotated[list[str] | None, typer.Option(help="Data sets; repeat for more.", metavar="REF")] = None
    seeds: Annotated[str | None, typer.Option(help="Seeds, e.g. 0-2 or 0,3,7-9.", metavar="SEEDS")] = None
    metric: Annotated[list[str] | None, typer.Option(help="A metric; repeat for more.", metavar="NAME")] = None
    task: Task = None
    kit: Kit = None
    sets: Sets = None
    device: Device = None
    data_share: Annotated[
        float | None,
        typer.Option(
            help="Share of clean rows that the defender is allowed, of the training rows, (0, 1] (default 0.1); "
            "classifiers: at most what the reserve holds."
        ),
    ] = None
    executor: Annotated[str, typer.Option(help="local, or another executor that is installed.", metavar="NAME")] = (
        "local"
    )
    workers: Annotated[int | None, typer.Option(help="How many stages at a time.", metavar="NUMBER")] = None
    out: Out = Path("runs")
    name: Annotated[str | None, typer.Option(help="Name of the sweep's folder in OUT/sweeps.", metavar="NAME")] = None
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run, and how long it may take.")] = False
    print_config: Annotated[bool, typer.Option("--print-config", help="Print the resolved plan as YAML.")] = False
    as_json: Annotated[bool, typer.Option("--json", help="Print events as JSON lines on standard output.")] = False
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False


@takes(SweepOptions)
def sweep(options: SweepOptions) -> None:
    """Run every attack of a plan against every defense; each distinct stage once.

    Giving the same command again continues an interrupted sweep and tries again what failed.
    """
    from bdm_cli import sweep_view
    from bdm_cli.around import at_work
    from bdm_core.errors import UserError
    from bdm_core.run.runner import check_name
    from bdm_sweep.survey import survey
    from bdm_sweep.sweeping import Telling, carry_out, open_executor

    if options.print_config and options.dry_run:
        raise UserError("--print-config and --dry-run: choose one of them")
    check_name(options.name)
    plan, own = _plan(options)
    executor, params = open_executor(options.executor, own)
    if options.print_config:
        _print_plan(plan, as_json=options.as_json)
        return
    with at_work():
        found = survey(plan, options.out, here=executor.here)
    if options.dry_run:
        workers = getattr(params, "workers", 0) or getattr(params, "parallel", 0) or sweep_view.usual_workers()
        document = sweep_view.estimate(found, workers)
        if options.as_json:
            print(json.dumps(document))
        else:
            sweep_view.print_dry_run(out(), found, document)
        return
    if options.as_json:
        summary = carry_out(found, options.out, executor, params, Telling(options.name, command_line(), _print_event))
    else:
        with sweep_view.progress(found, quiet=options.quiet) as view, at_work():
            telling = Telling(options.name, command_line(), view.on_event)
            summary = carry_out(found, options.out, executor, params, telling)
        sweep_view.print_summary(out(), summary)
    if summary.failed:
        _end(summary)


def _plan(options: SweepOptions) -> tuple[Plan, dict[str, Any]]:
    """The plan, from file and options, and the executor's parameters."""
    from bdm_cli.specification import parse_set
    from bdm_core.errors import UserError
    from bdm_sweep.plan import plan_of, read_fields
    from bdm_sweep.rules import mapping

    fields = {} if options.plan is None else read_fields(options.plan)
    lists = {"attack": options.attack, "defense": options.defense}
    for name, given in lists.items():
        if given and not all(text.strip() for text in given):
            raise UserError(f"--{name} is empty: give names, or leave it out")
        if given:
            fields[f"{name}s"] = [item for text in given for item in names(text, f"--{name}")]
    fields |= {name: given for name, given in (("models", options.model), ("data", options.data)) if given}
    fields |= {"seeds": options.seeds} if options.seeds is not None else {}
    shared = fields.get("options")
    shared = dict(shared) if isinstance(shared, dict) else {}
    more = {"metrics": options.metric or None}
    more |= {name: getattr(options, name) for name in ("task", "kit", "device", "data_share")}
    shared |= {name: value for name, value in more.items() if value is not None}
    params = mapping(shared.get("params"))
    own: dict[str, Any] = {} if options.workers is None else {"workers": options.workers}
    for item in options.sets or []:
        key, name, value = parse_set(item)
        if key.startswith("executor:"):
            if key != f"executor:{options.executor}":
                raise UserError(f"--set {item}: the executor is {options.executor}")
            own[name] = value
        else:
            params.setdefault(key, {})[name] = value
    if params:
        shared["params"] = params
    if shared:
        fields["options"] = shared
    if options.plan is None and not fields.get("attacks"):
        raise UserError("no attacks given: name a plan, or add --attack NAMES (bdm plugins list attack)")
    return plan_of(fields, str(options.plan or "the command line")), own


def _print_plan(plan: Plan, *, as_json: bool) -> None:
    import yaml

    if as_json:
        print_json(plan.model_dump(mode="json", exclude_none=True))
        return
    print(yaml.safe_dump(plan.model_dump(mode="json", exclude_none=True), sort_keys=False), end="")


def _print_event(event: dict[str, Any]) -> None:
    """Print an event as a line. Raises OutputClosed if nobody reads them any more, e.g. behind ``| head``."""
    try:
        print(json.dumps(event), flush=True)
    except BrokenPipeError:
        raise OutputClosed from None


def _end(summary: Summary) -> None:
    sys.stdout.flush()
    say(f"error: {len(summary.failed)} of the sweep's cells failed: see {summary.folder / 'cells.jsonl'}")
    raise typer.Exit(1)
