"""Measure what a plan has and a file of results lacks: used by the benchmarks that are plans."""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bdm_cli.console import out as console
from bdm_cli.sweep_view import estimate, print_dry_run
from bdm_results.view import RunView
from bdm_sweep import Plan, read_plan, sweep
from bdm_sweep.cells import Preparation, cells_of
from bdm_sweep.plan import Method
from bdm_sweep.survey import survey

PLANS = Path(__file__).parent / "plans"
Line = dict[str, Any]


def arguments_of(documentation: str, work: str) -> argparse.Namespace:
    """The arguments that these benchmarks share."""
    parser = argparse.ArgumentParser(description=documentation, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=None, help="by default the plan's")
    parser.add_argument("--only", nargs="+", default=None, help="beginnings of cases' names; by default all")
    parser.add_argument("--work", type=Path, default=Path(work), help="folder for the runs")
    parser.add_argument("--workers", type=int, default=1, help="stages at a time")
    parser.add_argument("--fresh", action="store_true", help="measure everything anew")
    parser.add_argument("--dry-run", action="store_true", help="say what would run, and how long it may take")
    return parser.parse_args()


def read_lines(path: Path) -> list[Line]:
    """The lines that there are."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def measure_missing(
    plan: Path,
    lines: Path,
    given: argparse.Namespace,
    name_of: Callable[[Method], str],
    line_of: Callable[[RunView], Line],
) -> None:
    """Sweep the plan's attacks that have no line for some seed, and append a line for each finished run.

    Args:
        plan: the plan's file.
        lines: the file of results: objects with ``case`` and ``seed``.
        given: see :func:`arguments_of`.
        name_of: the name of an attack's case.
        line_of: the numbers of a run.
    """
    if given.fresh and not given.dry_run:
        lines.unlink(missing_ok=True)
    known = set() if given.fresh else {(line["case"], line["seed"]) for line in read_lines(lines)}
    whole = read_plan(plan)
    seeds = given.seeds or whole.seeds
    wanted = [
        (attack, seed)
        for attack in whole.attacks
        for seed in seeds
        if (name_of(attack), seed) not in known and (not given.only or name_of(attack).startswith(tuple(given.only)))
    ]
    if given.dry_run:
        by_seed = {seed: [attack for attack, own in wanted if own == seed] for _, seed in wanted}
        say_what_would_run(
            [_part(whole, attacks, seed) for seed, attacks in by_seed.items()], given.work, given.workers
        )
        return
    preparation = Preparation()
    names: dict[str, str] = {}
    for seed in dict.fromkeys(seed for _, seed in wanted):
        part = _part(whole, [attack for attack, own in wanted if own == seed], seed)
        for attack in part.attacks:
            names |= {
                cell.name: name_of(attack) for cell in cells_of(_part(whole, [attack], seed), preparation).possible
            }
        done = sweep(part, out=given.work, params={"workers": given.workers}, on_event=_say)
        with lines.open("a") as file:
            for folder in done.complete:
                found = {"case": names[folder.name], "seed": seed, **line_of(RunView(folder))}
                file.write(json.dumps(found, ensure_ascii=False) + "\n")
        for name, reason in done.failed.items():
            print(f"failed: {names[name]}, seed {seed}: {reason}", flush=True)


def say_what_would_run(plans: list[Plan], out: Path, workers: int) -> None:
    """Print cells, stages and expected times of plans, as ``bdm sweep --dry-run`` does; nothing runs."""
    if not plans:
        print("nothing is missing (--fresh measures everything anew)")
        return
    found = survey(plans, out)
    print_dry_run(console(), found, estimate(found, workers))


def _part(plan: Plan, attacks: list[Method], seed: int) -> Plan:
    return plan.model_copy(update={"attacks": attacks, "seeds": [seed]})


def _say(event: dict[str, Any]) -> None:
    if event["event"] == "cell_finished":
        print(f"{event['run']}: {event['tasks_done']} of {event['tasks']} tasks done", flush=True)


def bullet(text: str) -> str:
    """A point of a list, in lines that are no longer than those of other pages."""
    return textwrap.fill(f"- {text}", 118, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
