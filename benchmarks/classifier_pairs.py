"""Attacks on image classifiers against defenses, by two plans: `python benchmarks/classifier_pairs.py`.

``benchmarks/plans/classifier-pairs.yaml`` has all attacks and all defenses, ``classifier-pairs-rates.yaml`` further
poison rates of four attacks. Attack after attack and seed after seed, a line of JSON for each pair goes to
``benchmarks/results/classifier_pairs.jsonl`` as soon as it is finished, and one for each that failed, with the reason;
the page is ``docs/benchmarks/classifier-pairs.md``. Pairs that are measured are skipped, those that failed are tried
again. ``--page`` writes the page from the lines that there are.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from classifier_attacks import Clock
from classifier_pairs_page import write_page
from swept import PLANS, Line, read_lines
from text_to_image import value_of

from bdm_core.discovery.candidates import find
from bdm_core.plugin import Defense
from bdm_results.view import RunView
from bdm_sweep import Plan, read_plan, sweep
from bdm_sweep.cells import Cell, Preparation, cells_of

RESULTS = Path(__file__).parent / "results"
LINES = RESULTS / "classifier_pairs.jsonl"
SPEED = RESULTS / "classifier_pairs_speed.json"
PARTS = ("classifier-pairs", "classifier-pairs-rates")
ROWS = {
    "clean": ("accuracy", "asr"),
    "backdoored": ("accuracy", "asr", "recovered_accuracy"),
    "purified": ("accuracy", "asr", "recovered_accuracy", "der"),
    "repaired": ("accuracy", "asr", "recovered_accuracy", "der"),
}
DETECTION = {
    "clean": ("verdict", "score", "auroc", "tpr", "fpr"),
    "backdoored": ("verdict", "score", "auroc", "tpr", "fpr", "f1", "f1_random", "f1_perfect"),
    "purified": ("rejected_clean", "rejected_triggered"),
}
COST = ("seconds", "forward_passes", "backward_passes", "clean_samples")
WORK = ("detect", "repair", "purify-inputs")
"""The stages of a defense."""
CLEAN_WORK = "detection on clean model"


def line_of(part: str, cell: Cell, view: RunView, clock: Clock) -> Line:
    """What the results have of a pair."""
    spec = cell.spec
    found: Line = {**identity(part, cell), "status": "complete"}
    defense = find("defense", str(spec.defense), spec.task).load()
    assert isinstance(defense, Defense)
    found |= {"level": getattr(defense, "level", None), "access": sorted(defense.access)}
    for row, names in ROWS.items():
        place = "clean under trigger" if row == "clean" else row
        values = {
            name: value_of(view.results, place if name == "asr" else row, f"metric:accuracy.{name}") for name in names
        }
        values |= {name: value_of(view.results, row, f"metric:detection.{name}") for name in DETECTION.get(row, ())}
        if any(value is not None for value in values.values()):
            found[row] = {name: value for name, value in values.items() if value is not None}
    last = next((row for row in ("repaired", "purified", "backdoored") if row in found), "backdoored")
    found["cost"] = {name: value_of(view.results, last, f"metric:cost.{name}") for name in COST}
    own = [entry["key"] for entry in view.stages if entry["stage"] in WORK and entry["label"] != CLEAN_WORK]
    known = all(key in clock.seconds for key in own)
    found["cost"]["processor_seconds"] = round(sum(clock.seconds[key] for key in own), 2) if own and known else None
    bound = value_of(view.results, "repaired", "metric:operating-point.best_asr")
    if bound is not None:
        found["upper_bound"] = {
            "asr": bound,
            "accuracy": value_of(view.results, "repaired", "metric:operating-point.best_accuracy"),
        }
    return found


def identity(part: str, cell: Cell) -> Line:
    """What names a pair."""
    spec = cell.spec
    params = spec.params.get(f"attack:{spec.attack}", {})
    return {
        "part": part,
        "run": cell.name,
        "attack": spec.attack,
        "params": params,
        "model": spec.model,
        "defense": spec.defense,
        "seed": spec.seed,
    }


class Measurement:
    """Writes a line for each pair as it is finished, and how many an hour.

    Args:
        part: name of the plan.
        work: folder of the runs.
    """

    def __init__(self, part: str, work: Path) -> None:
        self.part, self.work = part, work
        self.began, self.clock = time.monotonic(), Clock()
        self.before = json.loads(SPEED.read_text()) if SPEED.exists() else {"pairs": 0, "failed": 0, "seconds": 0.0}
        self.pairs = self.failed = 0
        self.left: dict[str, Cell] = {}

    def complete(self, name: str, *, new: bool = True) -> None:
        """A pair is finished."""
        cell = self.left.pop(name, None)
        if cell is None:
            return
        line = line_of(self.part, cell, RunView(self.work / name), self.clock)
        self.pairs += new
        self._append(line)
        final = line.get("repaired", line.get("purified", line.get("backdoored", {})))
        print(f"{cell.spec.attack} {cell.spec.defense} s{cell.spec.seed}: {final}", flush=True)

    def fail(self, name: str, reason: str) -> None:
        """A pair has failed."""
        cell = self.left.pop(name, None)
        if cell is not None:
            self.failed += 1
            self._append({**identity(self.part, cell), "status": "failed", "error": reason})
            print(f"FAILED {cell.spec.attack} {cell.spec.defense} s{cell.spec.seed}: {reason}", flush=True)

    def _append(self, line: Line) -> None:
        with LINES.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
        spent = {"pairs": self.pairs, "failed": self.failed, "seconds": time.monotonic() - self.began}
        total = {name: round(self.before[name] + value, 1) for name, value in spent.items()}
        SPEED.write_text(json.dumps(total) + "\n", encoding="utf-8")

    def hear(self, event: dict[str, Any]) -> None:
        """Called with every event of the sweep."""
        self.clock.hear(event)
        if event["event"] == "cell_finished":
            self.complete(event["run"])
        elif event["event"] == "cell_failed":
            self.fail(event["run"], str(event["error"]))

    def sweep(self, plan: Plan, cells: dict[str, Cell]) -> None:
        """Measure some cells."""
        self.left = dict(cells)
        done = sweep(plan, out=self.work, params={"workers": 1}, on_event=self.hear)
        for folder in done.complete:  # those that were complete before
            self.complete(folder.name, new=False)


def measure(part: str, given: argparse.Namespace) -> None:
    """Sweep the pairs of a plan that are not measured: seed by seed, attack by attack, some defenses at a time."""
    plan = read_plan(PLANS / f"{part}.yaml")
    known = {line["run"] for line in read_lines(LINES) if line["status"] == "complete"}
    preparation, measurement = Preparation(), Measurement(part, given.work)
    defenses = [item for item in plan.defenses if not given.defenses or item.name in given.defenses]
    for seed in [seed for seed in plan.seeds if not given.seeds or seed in given.seeds]:
        for attack in [item for item in plan.attacks if not given.attacks or item.name in given.attacks]:
            for start in range(0, len(defenses), given.at_once):
                some = defenses[start : start + given.at_once]
                one = plan.model_copy(update={"attacks": [attack], "defenses": some, "seeds": [seed]})
                cells = {cell.name: cell for cell in cells_of(one, preparation).possible if cell.name not in known}
                if cells:
                    wanted = {cell.spec.defense for cell in cells.values()}
                    left = [item for item in some if item.name in wanted]
                    measurement.sweep(one.model_copy(update={"defenses": left}), cells)


def main() -> None:
    """Measure what is missing and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, action="append", help="by default both")
    parser.add_argument("--attacks", nargs="+", default=None, help="by default the plan's")
    parser.add_argument("--defenses", nargs="+", default=None, help="by default the plan's")
    parser.add_argument("--seeds", type=int, nargs="+", default=None, help="by default the plan's")
    parser.add_argument("--at-once", type=int, default=12, help="so many defenses, in the plan's order, in one sweep")
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark-classifier-pairs"), help="for the runs")
    parser.add_argument("--page", action="store_true", help="measure nothing, write the page")
    given = parser.parse_args()
    if not given.page:
        for part in given.part or PARTS:
            measure(part, given)
    print(f"written: {write_page(read_lines(LINES))}")


if __name__ == "__main__":
    main()
