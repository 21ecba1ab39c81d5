"""Attacks on classifiers of text and sound, and defenses, by plans of `bdm sweep`: `python benchmarks/modalities.py`.

``benchmarks/plans/modalities.yaml`` has every attack with its defaults, ``modalities-texts.yaml`` and
``modalities-sound.yaml`` BadNets against every defense, and those that end in ``-others`` and ``-wide`` further attacks
against defenses that do not stop BadNets. Seed after seed and cell after cell, a line of JSON goes to
``benchmarks/results/modalities.jsonl`` as soon as a cell is finished, and one for each that failed, with the reason;
the page is ``docs/benchmarks/modalities.md``. Cells that are measured are skipped, those that failed are tried again.
``--page`` writes the page from the lines that there are.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from classifier_attacks import Clock
from modalities_page import PARTS, write_page
from swept import PLANS, Line, read_lines
from text_to_image import value_of

from bdm_results.view import RunView
from bdm_sweep import Plan, read_plan, sweep
from bdm_sweep.cells import Cell, Preparation, cells_of

LINES = Path(__file__).parent / "results" / "modalities.jsonl"
ATTACKED = {
    "accuracy_clean_model": ("clean", "metric:accuracy.accuracy"),
    "accuracy": ("backdoored", "metric:accuracy.accuracy"),
    "asr_clean_model": ("clean under trigger", "metric:accuracy.asr"),
    "asr": ("backdoored", "metric:accuracy.asr"),
    "asr_without_trigger": ("backdoored", "metric:accuracy.asr_without_trigger"),
    "false_triggers": ("backdoored", "metric:accuracy.false_trigger_rate"),
    "edits": ("backdoored", "metric:stealth.edits"),
    "perplexity": ("backdoored", "metric:stealth.perplexity_rise"),
    "snr": ("backdoored", "metric:stealth.snr"),
    "spectral": ("backdoored", "metric:stealth.log_spectral_distance"),
    "passed": ("backdoored", "metric:verification.passed"),
    "passed_clean_model": ("clean", "metric:verification.passed"),
    "passed_without_trigger": ("backdoored", "metric:verification.passed_without_trigger"),
    "error_rate": ("backdoored", "metric:verification.eer"),
    "passed_others": ("backdoored", "metric:verification.passed_others"),
    "passed_others_clean_model": ("clean", "metric:verification.passed_others"),
    "passed_others_without_trigger": ("backdoored", "metric:verification.passed_without_trigger_others"),
    "error_rate_others": ("backdoored", "metric:verification.eer_others"),
}
DEFENDED = {
    "accuracy_before": ("backdoored", "metric:accuracy.accuracy"),
    "asr_before": ("backdoored", "metric:accuracy.asr"),
    "verdict": ("backdoored", "metric:detection.verdict"),
    "auroc": ("backdoored", "metric:detection.auroc"),
    "tpr": ("backdoored", "metric:detection.tpr"),
    "fpr": ("backdoored", "metric:detection.fpr"),
    "asr_without_trigger": ("repaired", "metric:accuracy.asr_without_trigger"),
    "rejected_clean": ("purified", "metric:detection.rejected_clean"),
    "rejected_triggered": ("purified", "metric:detection.rejected_triggered"),
}
WORK = {"attacks": ("poison-data", "inject-backdoor"), "defenses": ("detect", "repair", "purify-inputs")}
"""The stages whose processor time is shown."""


def identity(part: str, cell: Cell) -> Line:
    """What names a cell."""
    spec = cell.spec
    return {
        "part": part,
        "run": cell.name,
        "task": spec.task,
        "attack": spec.attack,
        "model": spec.model,
        "defense": spec.defense,
        "params": spec.params.get(f"defense:{spec.defense}", {}),
        "seed": spec.seed,
    }


def line_of(part: str, cell: Cell, view: RunView, clock: Clock) -> Line:
    """What the results have of a cell. After the defense are the numbers of the last row that there is."""
    found = {**identity(part, cell), "status": "complete"}
    places = DEFENDED if part == "defenses" else ATTACKED
    found |= {key: value_of(view.results, *place) for key, place in places.items()}
    rows = {line["row"] for line in view.results}
    last = next((row for row in ("repaired", "purified") if row in rows), None)
    if last:
        found["after"] = last
        found["accuracy_after"] = value_of(view.results, last, "metric:accuracy.accuracy")
        found["asr_after"] = value_of(view.results, last, "metric:accuracy.asr")
    keys = [entry["key"] for entry in view.stages if entry["stage"] in WORK[part]]
    known = bool(keys) and all(key in clock.seconds for key in keys)
    found["seconds"] = round(sum(clock.seconds[key] for key in keys), 1) if known else None
    hardware = view.record["hardware"]
    return found | {"machine": {"processor": hardware.get("processor"), "cores": hardware["cores"]}}


class Measurement:
    """Writes a line for each cell as it is finished.

    Args:
        part: ``attacks`` or ``defenses``.
        work: folder of the runs.
    """

    def __init__(self, part: str, work: Path) -> None:
        self.part, self.work, self.clock = part, work, Clock()
        self.left: dict[str, Cell] = {}

    def hear(self, event: dict[str, Any]) -> None:
        """Called with every event of the sweep."""
        self.clock.hear(event)
        if event["event"] == "cell_finished":
            self.complete(event["run"])
        elif event["event"] == "cell_failed" and (cell := self.left.pop(event["run"], None)) is not None:
            self._append({**identity(self.part, cell), "status": "failed", "error": str(event["error"])})

    def complete(self, name: str) -> None:
        """A cell is finished."""
        cell = self.left.pop(name, None)
        if cell is not None:
            self._append(line_of(self.part, cell, RunView(self.work / name), self.clock))

    def _append(self, line: Line) -> None:
        with LINES.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
        said = line.get("error") or line.get("asr_after", line.get("asr"))
        print(f"{line['model']} {line['attack']} {line['defense'] or ''} s{line['seed']}: {said}", flush=True)

    def sweep(self, plan: Plan, cells: dict[str, Cell]) -> None:
        """Measure some cells."""
        self.left = dict(cells)
        done = sweep(plan, out=self.work, params={"workers": 1}, on_event=self.hear)
        for folder in done.complete:  # those that were complete before
            self.complete(folder.name)


def measure(part: str, name: str, given: argparse.Namespace) -> None:
    """Sweep the cells of a plan that are not measured."""
    plan = read_plan(PLANS / f"{name}.yaml")
    known = {line["run"] for line in read_lines(LINES) if line["status"] == "complete"}
    preparation, measurement = Preparation(), Measurement(part, given.work)
    plan = plan.model_copy(
        update={
            "attacks": [item for item in plan.attacks if not given.models or item.options["model"] in given.models],
            "defenses": [item for item in plan.defenses if not given.defenses or item.name in given.defenses],
        }
    )
    if part == "defenses" and not plan.defenses:  # without any, a plan has all
        return
    for seed in [seed for seed in plan.seeds if not given.seeds or seed in given.seeds]:
        for attack in [item for item in plan.attacks if not given.attacks or item.name in given.attacks]:
            one = plan.model_copy(update={"attacks": [attack], "seeds": [seed]})
            found = cells_of(one, preparation).possible
            cells = {cell.name: cell for cell in found if cell.name not in known}
            wanted = {cell.spec.defense for cell in cells.values()}
            if cells:
                left = [item for item in plan.defenses if item.name in wanted]
                measurement.sweep(one.model_copy(update={"defenses": left}), cells)


def main() -> None:
    """Measure what is missing and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, action="append", help="by default both")
    parser.add_argument("--attacks", nargs="+", default=None, help="by default the plan's")
    parser.add_argument("--defenses", nargs="+", default=None, help="by default the plan's")
    parser.add_argument("--models", nargs="+", default=None, help="built-in models; by default the plan's")
    parser.add_argument("--seeds", type=int, nargs="+", default=None, help="by default the plan's")
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark-modalities"), help="for the runs")
    parser.add_argument("--page", action="store_true", help="measure nothing, write the page")
    given = parser.parse_args()
    if not given.page:
        for part in given.part or PARTS:
            for name in PARTS[part]:
                measure(part, name, given)
    print(f"written: {write_page(read_lines(LINES))}")


if __name__ == "__main__":
    main()
