"""The plans of :mod:`detection`: one for each model of the population, and the sweep that works them off."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from detection import (
    DETECTS,
    INPUTS,
    KIT,
    PRESETS,
    REPAIRS,
    TASK,
    facts_of,
    file_of,
    read_lines,
    sampler_rows,
)
from detection_population import SMALL, Member, make_base, make_clean, population
from swept import say_what_would_run

from bdm_results.view import RunView
from bdm_sweep import Plan, sweep
from bdm_sweep.cells import Preparation, cells_of
from bdm_sweep.plan import plan_of

FEW = 16
"""Samples where only the detection counts: the models are not evaluated then."""


def plan_of_member(member: Member, defenses: Sequence[str], preset: str | None, work: Path) -> Plan | None:
    """What is run of a model: it is attacked and defended, or scanned if it is clean. None if no defense judges it.

    Args:
        member: of the population; its base, and the model itself if it is clean, are made already.
        defenses: names of defenses whose lines are missing.
        preset: of :data:`PRESETS`, or None.
        work: the benchmark's folder.
    """
    base = make_base(member.base, work / "models")
    given: dict[str, dict[str, Any]] = {
        "reference-audit": {"reference": str(base) if member.base == SMALL else member.base}
    }
    given |= PRESETS[preset] if preset else {}
    chosen = [name for name in defenses if judges(member, name)]
    if not chosen:
        return None
    kit = (
        KIT | ({"samples": FEW} if preset else {}) | ({"corrector_steps": 0} if member.base == "digits-ve" else {})
    )  # the corrector leads off the path
    params = {"kit:diffusion": kit} | {f"defense:{name}": given[name] for name in chosen if name in given}
    options: dict[str, Any] = {"task": TASK, "device": "cpu", "params": params}
    if member.attack is None:
        clean = str(make_clean(member, work / "models"))
        return plan_of(
            {"scan": True, "models": [clean], "defenses": chosen, "seeds": [member.seed], "options": options}
        )
    roles = [
        {
            "detect": name if name in DETECTS else None,
            "repair": name if name in REPAIRS and member.repaired and not preset else None,
        }
        for name in chosen
    ]
    options |= {"triggered_share": 0.5} | ({"metrics": []} if preset else {})
    attack = {"name": member.attack, "params": member.settings}
    return plan_of(
        {"attacks": [attack], "models": [str(base)], "defenses": roles, "seeds": [member.seed], "options": options}
    )


def say_what_is_missing(given: argparse.Namespace) -> None:
    """Print what :func:`measure` would run; of models that it would have to make first only how many there are.

    Args:
        given: the arguments of ``benchmarks/detection.py``.
    """
    models = given.work / "models"
    lines = [] if given.fresh else read_lines(file_of(given.second, given.preset))
    known = {(line["model"], line["defense"]) for line in lines}
    plans, unmade = [], 0
    for member in population(given.second):
        missing = [name for name in given.defenses if (member.name, name) not in known and judges(member, name)]
        if not (is_asked_for(member, given.only) and missing):
            continue
        needed = models / (member.name if member.attack is None else member.base)
        if (member.attack is None or member.base == SMALL) and not (needed / "model_index.json").is_file():
            unmade += 1
        elif plan := plan_of_member(member, missing, given.preset, given.work):
            plans.append(plan)
    if unmade:
        print(f"{unmade} models that are made first, with what judges them, are not in these numbers")
    say_what_would_run(plans, given.work / "runs", given.workers or os.cpu_count() or 1)


def judges(member: Member, defense: str) -> bool:
    """Whether a defense has a line for a model."""
    if defense in INPUTS:
        return member.repaired and member.seed == 0
    return defense in DETECTS or member.repaired


def is_asked_for(member: Member, only: Sequence[str] | None) -> bool:
    """Whether a name of ``--only`` fits: it ends with a digit and is the model's, or the model's begins with it."""
    if not only:
        return True
    return any(member.name == name or (not name[-1:].isdigit() and member.name.startswith(name)) for name in only)


def line_of(member: Member, defense: str, preset: str | None) -> dict[str, Any]:
    """What a line says of the model."""
    return {
        "model": member.name,
        "base": member.base,
        "group": member.group,
        "half": member.half,
        "defense": defense,
        "settings": member.settings,
        **({"preset": preset} if preset else {}),
    }


def measure(given: argparse.Namespace) -> None:
    """Sweep what has no line, and write a line for each cell when it is finished.

    Args:
        given: the arguments of ``benchmarks/detection.py``.
    """
    members = [item for item in population(given.second) if is_asked_for(item, given.only)]
    make_base(SMALL, given.work / "models")
    results, preset, work = file_of(given.second, given.preset), given.preset, given.work
    known = {(line["model"], line["defense"]) for line in read_lines(results)}
    plans: list[Plan] = []
    owners: dict[str, tuple[Member, str]] = {}
    preparation = Preparation()
    for member in members:
        missing = [name for name in given.defenses if (member.name, name) not in known]
        plan = plan_of_member(member, missing, preset, work)
        if plan is not None:
            plans.append(plan)
            for cell in cells_of(plan, preparation).possible:
                owners[cell.name] = (member, cell.defense)

    def write(line: dict[str, Any]) -> None:
        with results.open("a") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
        print(line["model"], line["defense"], line.get("error", "done"), flush=True)

    def on_event(event: dict[str, Any]) -> None:
        if event["event"] in ("cell_finished", "cell_failed"):
            line = line_of(*owners[event["run"]], preset)
            if event["event"] == "cell_failed":
                write(line | {"error": event["error"], "seconds": 0.0})
                return
            view = RunView(work / "runs" / event["run"])
            own = [entry["seconds"] for entry in view.stages if entry["stage"] in ("detect", "repair", "purify-inputs")]
            write(line | facts_of(view) | {"seconds": round(sum(own), 1)})

    if plans:
        params = {"workers": given.workers or os.cpu_count() or 1, "threads": 1}
        sweep(plans, out=work / "runs", params=params, on_event=on_event)
    for member in members:
        if member.repaired and member.seed == 0 and not preset and (member.name, "samplers") not in known:
            plan = plan_of_member(member, given.defenses, preset, work)
            cells = [] if plan is None else cells_of(plan, preparation).possible
            folder = next((work / "runs" / cell.name for cell in cells if (work / "runs" / cell.name).is_dir()), None)
            if folder is not None:
                facts = {"model": member.name, "group": member.group, "base": member.base, "defense": "samplers"}
                write({**facts, "rows": sampler_rows(folder)})
