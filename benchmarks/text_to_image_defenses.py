"""Text-to-image attacks against defenses, by a plan: `python benchmarks/text_to_image_defenses.py`.

``benchmarks/plans/text-to-image-defenses.yaml`` has all attacks and modes and all defenses. Seed after seed and attack
after attack, the cheap ones first, a line of JSON for each pair goes to
``benchmarks/results/text_to_image_defenses.jsonl`` as soon as it is finished, and one for each that failed, with the
reason; the page is ``docs/benchmarks/text-to-image-defenses.md``. Pairs that are measured are skipped, those that
failed are tried again. ``--page`` writes the page from the lines that there are.
"""

from __future__ import annotations

import argparse
import json
from itertools import product
from pathlib import Path
from typing import Any

from classifier_attacks import Clock
from swept import Line, read_lines
from text_to_image import value_of
from text_to_image_controls import DETECTION, ON_CLEAN, length_matched, scores_of, separation
from text_to_image_defenses_page import write_page
from text_to_image_pairs import LINES, PLAN, label_of, latest, listed

from bdm_core.discovery.candidates import find
from bdm_core.errors import BdmError
from bdm_core.plugin import Defense
from bdm_results.view import RunView
from bdm_sweep import Plan, read_plan, sweep
from bdm_sweep.cells import Cell, Preparation, cells_of
from bdm_sweep.plan import Method

PROTOCOLS = ("word", "character", "trigger", "noise", "crop")
PICTURES = ("acc", "leak", "asr", "psr", *(f"asr_{name}" for name in PROTOCOLS))
DETECTOR = {
    "clean": ("verdict", "score", "threshold", "auroc", "tpr", "fpr"),
    "backdoored": ("verdict", "score", "threshold", "auroc", "tpr", "fpr"),
    "purified": ("rejected_clean", "rejected_triggered"),
    "repaired": (),
}
"""Row -> what ``metric:detection`` says of it."""
ON_TRIGGERED = ("asr", "psr", *(f"asr_{name}" for name in PROTOCOLS))
COST = ("seconds", "forward_passes", "backward_passes", "clean_samples")
WORK = ("detect", "repair", "purify-inputs")
"""The stages of a defense."""


def line_of(cell: Cell, view: RunView, clock: Clock) -> Line:
    """What the results have of a pair."""
    spec = cell.spec
    found: Line = {**identity(cell), "status": "complete"}
    defense = find("defense", str(spec.defense), spec.task).load()
    assert isinstance(defense, Defense)
    found |= {"level": getattr(defense, "level", None), "access": sorted(defense.access)}
    for row, names in DETECTOR.items():
        values = {name: value_of(view.results, place_of(row, name), f"metric:attributes.{name}") for name in PICTURES}
        values |= {name: value_of(view.results, row, f"metric:detection.{name}") for name in names}
        values |= {"frechet": value_of(view.results, row, "metric:frechet.")}
        if any(value is not None for value in values.values()):
            found[row] = {name: value for name, value in values.items() if value is not None}
    for row, label in (("backdoored", DETECTION), ("clean", ON_CLEAN)):
        scores = scores_of(view, label)
        if scores is not None:
            found[row]["tpr_at_5"] = separation(*scores)["tpr_at_5"]
    last = next((row for row in ("repaired", "purified", "backdoored") if row in found), "backdoored")
    found["cost"] = {name: value_of(view.results, last, f"metric:cost.{name}") for name in COST}
    found["cost"] |= own_cost(view, clock)
    try:
        found["controls"] = length_matched(defense, spec.params.get(f"defense:{spec.defense}", {}), view)
    except BdmError as error:
        found["controls"] = {"error": str(error)}
    return found


def place_of(row: str, name: str) -> str:
    """The row of the results that has a number: what the clean model does under the trigger is a row of its own."""
    return "clean under trigger" if row == "clean" and name in ON_TRIGGERED else row


def own_cost(view: RunView, clock: Clock) -> Line:
    """Processor seconds of the defense, and of its detection for each prompt that it measured.

    None where a stage came from the store.
    """
    own = [entry["key"] for entry in view.stages if entry["stage"] in WORK and entry["label"] != ON_CLEAN]
    known = bool(own) and all(key in clock.seconds for key in own)
    spent = round(sum(clock.seconds[key] for key in own), 2) if known else None
    entry, detection = view.stage(DETECTION), view.result_of(DETECTION)
    each = None
    if entry is not None and detection.level == "input" and entry["key"] in clock.seconds:
        each = round(clock.seconds[entry["key"]] / (len(detection.scores) + detection.clean_samples), 4)
    return {"processor_seconds": spent, "seconds_a_prompt": each}


def identity(cell: Cell) -> Line:
    """What names a pair."""
    spec = cell.spec
    return {
        "run": cell.name,
        "attack": spec.attack,
        "params": spec.params.get(f"attack:{spec.attack}", {}),
        "defense": spec.defense,
        "defense_params": spec.params.get(f"defense:{spec.defense}", {}),
        "seed": spec.seed,
    }


class Measurement:
    """Writes a line for each pair as it is finished.

    Args:
        work: folder of the runs.
    """

    def __init__(self, work: Path) -> None:
        self.work, self.clock = work, Clock()
        self.left: dict[str, Cell] = {}

    def complete(self, name: str) -> None:
        """A pair is finished."""
        cell = self.left.pop(name, None)
        if cell is not None:
            self._append(line_of(cell, RunView(self.work / name), self.clock))

    def hear(self, event: dict[str, Any]) -> None:
        """Called with every event of the sweep."""
        self.clock.hear(event)
        if event["event"] == "cell_finished":
            self.complete(event["run"])
        elif event["event"] == "cell_failed" and (cell := self.left.pop(event["run"], None)) is not None:
            self._append({**identity(cell), "status": "failed", "error": str(event["error"])})

    def _append(self, line: Line) -> None:
        with LINES.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
        last = next((line[row] for row in ("repaired", "purified", "backdoored") if row in line), line.get("error"))
        print(f"{line['attack']} {line['params']} {label_of(line)} s{line['seed']}: {last}", flush=True)

    def sweep(self, plan: Plan, cells: dict[str, Cell]) -> None:
        """Measure some cells."""
        self.left = dict(cells)
        done = sweep(plan, out=self.work, params={"workers": 1}, on_event=self.hear)
        for folder in done.complete:  # those that were complete before
            self.complete(folder.name)


def expanded(plan: Plan, cells: list[Cell]) -> Plan:
    """A plan of these cells, all of one attack and seed, with what rules say of them written out."""
    spec = cells[0].spec
    attack = next(item for item in plan.attacks if (item.name, item.params) == (spec.attack, own_params(cells[0])))
    defenses = [
        Method(name=cell.spec.defense, params=cell.spec.params.get(f"defense:{cell.spec.defense}", {}))
        for cell in cells
    ]
    changes = {"attacks": [attack], "defenses": defenses, "seeds": [spec.seed], "exclude": [], "overrides": []}
    return plan.model_copy(update=changes)


def own_params(cell: Cell) -> dict[str, Any]:
    """The parameters of a cell's attack that the plan sets."""
    return cell.spec.params.get(f"attack:{cell.spec.attack}", {})


def narrowed(plan: Plan, attacks: list[str] | None, defenses: list[str] | None, seeds: list[int] | None) -> Plan:
    """The part of a plan that was asked for, with its rules; None for all."""
    names = {
        "attack": [item.name for item in plan.attacks if not attacks or item.name in attacks],
        "defense": [item.name for item in plan.defenses if not defenses or item.name in defenses],
    }

    def rule(given: dict[str, Any]) -> dict[str, Any]:
        kept = {key: [name for name in listed(given[key]) if name in names[key]] for key in names if key in given}
        return {**given, **kept} if all(kept.values()) else {}

    return plan.model_copy(
        update={
            "attacks": [item for item in plan.attacks if item.name in names["attack"]],
            "defenses": [item for item in plan.defenses if item.name in names["defense"]],
            "seeds": [seed for seed in plan.seeds if not seeds or seed in seeds],
            "exclude": [kept for item in plan.exclude if (kept := rule(item))],
            "overrides": [
                item.model_copy(update={"when": kept}) for item in plan.overrides if (kept := rule(item.when))
            ],
        }
    )


def measure(given: argparse.Namespace) -> None:
    """Sweep the pairs of the plan that are not measured: seed by seed, attack by attack, some defenses at a time."""
    plan = narrowed(read_plan(PLAN), given.attacks, given.defenses, given.seeds)
    known = {line["run"] for line in latest(read_lines(LINES)) if line["status"] == "complete"}
    wanted = [cell for cell in cells_of(plan, Preparation()).possible if cell.name not in known]
    measurement = Measurement(given.work)
    for seed, attack in product(plan.seeds, plan.attacks):
        own = [cell for cell in wanted if cell.spec.seed == seed and cell.spec.attack == attack.name]
        own = [cell for cell in own if own_params(cell) == attack.params]
        for start in range(0, len(own), given.at_once):
            some = own[start : start + given.at_once]
            part, named = expanded(plan, some), {cell.name: cell for cell in some}
            if named.keys() != {cell.name for cell in cells_of(part, Preparation()).possible}:
                raise SystemExit("the plan sets options of a run by a rule: they would be lost; set params alone")
            measurement.sweep(part, named)


def main() -> None:
    """Measure what is missing and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attacks", nargs="+", default=None, help="by default the plan's")
    parser.add_argument("--defenses", nargs="+", default=None, help="by default the plan's")
    parser.add_argument("--seeds", type=int, nargs="+", default=None, help="by default the plan's")
    parser.add_argument("--at-once", type=int, default=8, help="so many defenses, in the plan's order, in one sweep")
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark-text-to-image-defenses"), help="for the runs")
    parser.add_argument("--page", action="store_true", help="measure nothing, write the page")
    given = parser.parse_args()
    if not given.page:
        measure(given)
    print(f"written: {write_page(read_lines(LINES))}")


if __name__ == "__main__":
    main()
