"""The attacks on image classifiers, by three plans of `bdm sweep`: `python benchmarks/classifier_attacks.py`.

``benchmarks/plans/classifier-attacks.yaml`` has every attack with its defaults, ``classifier-attacks-paper.yaml`` the
triggers as strong as in the papers, ``classifier-attacks-rates.yaml`` further poison rates. A line of JSON for each run
goes to ``benchmarks/results/classifier_attacks.jsonl`` as soon as the run is finished, and the page is
``docs/benchmarks/classifier-attacks.md``. Runs that have a line are skipped, but for those that ``--only`` names and
``--fresh`` measures anew. ``--page`` writes the page from the lines that there are.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from classifier_attacks_page import write_page
from swept import PLANS, Line, read_lines
from text_to_image import value_of

from bdm_results.view import RunView
from bdm_sweep import Plan, read_plan, sweep
from bdm_sweep.cells import Cell, Preparation, cells_of

LINES = Path(__file__).parent / "results" / "classifier_attacks.jsonl"
PARTS = {"default": "classifier-attacks", "paper": "classifier-attacks-paper", "rates": "classifier-attacks-rates"}
METRICS = {
    "accuracy_clean_model": ("clean", "metric:accuracy.accuracy"),
    "accuracy": ("backdoored", "metric:accuracy.accuracy"),
    "asr_clean_model": ("clean under trigger", "metric:accuracy.asr"),
    "asr": ("backdoored", "metric:accuracy.asr"),
    "asr_without_trigger": ("backdoored", "metric:accuracy.asr_without_trigger"),
    "false_triggers": ("backdoored", "metric:accuracy.false_trigger_rate"),
    "psnr": ("backdoored", "metric:stealth.psnr"),
}
STAGES = ("poisoned data", "backdoored model")
"""What an attack costs: these stages."""


class Clock:
    """Processor seconds of each stage, from the events of a sweep."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def hear(self, event: dict[str, Any]) -> None:
        """Called with every event."""
        if event["event"] == "task_finished" and event.get("computed") and "key" in event:  # a run has none
            self.seconds[event["key"]] = event["processor"]

    def of(self, view: RunView) -> float | None:
        """Those of the stages of a run that are the attack's; None where one came from the store."""
        keys = [entry["key"] for entry in view.stages if entry["label"] in STAGES]
        return round(sum(self.seconds[key] for key in keys), 1) if all(key in self.seconds for key in keys) else None


def line_of(part: str, cell: Cell, view: RunView, clock: Clock) -> Line:
    """What the results have of a run."""
    spec, hardware = cell.spec, view.record["hardware"]
    found: Line = {"part": part, "run": cell.name, "attack": spec.attack, "model": spec.model, "seed": spec.seed}
    found["params"] = spec.params.get(f"attack:{spec.attack}", {})
    found |= {key: value_of(view.results, *place) for key, place in METRICS.items()}
    found["counted"] = next(
        (line["n"] for line in view.results if (line["row"], line["metric"]) == METRICS["asr"]), None
    )
    found["seconds"] = clock.of(view)
    return found | {"machine": {"processor": hardware.get("processor"), "cores": hardware["cores"]}}


def measure(part: str, plan: Plan, given: argparse.Namespace) -> None:
    """Sweep the cells of a plan that have no line, one attack after the other, and append a line for each run."""
    known = {line["run"] for line in read_lines(LINES)}
    preparation = Preparation()
    for attack in plan.attacks:
        if given.only and attack.name not in given.only:
            continue
        for seed in given.seeds or plan.seeds:
            alone = plan.model_copy(update={"attacks": [attack], "seeds": [seed]})
            wanted = (cell for cell in cells_of(alone, preparation).possible if cell.name not in known)
            cells = {cell.name: cell for cell in wanted if not given.models or cell.spec.model in given.models}
            models = [model for model in plan.models if any(cell.spec.model == model for cell in cells.values())]
            if cells:
                _sweep(part, alone.model_copy(update={"models": models}), cells, given)


def _sweep(part: str, plan: Plan, cells: dict[str, Cell], given: argparse.Namespace) -> None:
    clock, left = Clock(), dict(cells)

    def write(name: str) -> None:
        cell = left.pop(name, None)
        if cell is not None:
            line = line_of(part, cell, RunView(given.work / name), clock)
            with LINES.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
            print(
                f"{line['attack']}, {line['model']}, seed {line['seed']}, {line['params']}: {line['asr']}", flush=True
            )

    def on_event(event: dict[str, Any]) -> None:
        clock.hear(event)
        if event["event"] == "cell_finished":
            write(event["run"])

    done = sweep(plan, out=given.work, params={"workers": 1}, on_event=on_event)
    for folder in done.complete:  # those that were complete before
        write(folder.name)
    for name, reason in done.failed.items():
        print(f"failed: {name}: {reason}", flush=True)


def forget(only: Sequence[str] | None, parts: Sequence[str]) -> None:
    """Remove the lines of some attacks (all, if none is named) and parts."""
    kept = [line for line in read_lines(LINES) if line["part"] not in parts or (only and line["attack"] not in only)]
    LINES.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in kept), encoding="utf-8")


def main() -> None:
    """Measure what is missing and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, action="append", help="by default all")
    parser.add_argument("--only", nargs="+", default=None, help="attacks; by default all")
    parser.add_argument("--models", nargs="+", default=None, help="built-in models; by default the plan's")
    parser.add_argument("--seeds", type=int, nargs="+", default=None, help="by default the plan's")
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark-classifier-attacks"), help="for the runs")
    parser.add_argument("--fresh", action="store_true", help="measure anew")
    parser.add_argument("--page", action="store_true", help="measure nothing, write the page")
    given = parser.parse_args()
    parts = given.part or list(PARTS)
    if not given.page:
        if given.fresh:
            forget(given.only, parts)
        for part in parts:
            measure(part, read_plan(PLANS / f"{PARTS[part]}.yaml"), given)
    print(f"written: {write_page(read_lines(LINES))}")


if __name__ == "__main__":
    main()
