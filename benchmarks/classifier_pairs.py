"""Attacks on image classifiers against defenses, by several plans: `python benchmarks/classifier_pairs.py`.

``benchmarks/plans/classifier-pairs.yaml`` has the attacks that poison rows and all defenses; ``-no-rows`` the others,
``-rates`` further poison rates of four attacks, ``-third-seed`` a third seed of four, ``-clean`` clean models for the
detectors of models, ``-deep`` a deeper network, ``-longer`` longer trained victims. Attack after attack and seed after
seed, a line of JSON for each pair goes to ``benchmarks/results/classifier_pairs.jsonl`` as soon as it is finished, and
one for each that was refused or failed, with the reason; the page is ``docs/benchmarks/classifier-pairs.md``. Pairs
that are measured or were refused are skipped, those that failed are tried again. ``--page`` writes the page from the
lines that there are.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from classifier_attacks import Clock
from classifier_pairs_cells import grouped, is_shared, missing, only
from classifier_pairs_making import (
    Meta,
    MetaClassifiers,
    given_meta,
    made_ahead,
    make_models,
    planned_by_swept,
)
from classifier_pairs_numbers import latest, status_of
from classifier_pairs_page import write_page
from classifier_pairs_readmes import write_readmes
from classifier_pairs_state import PARTS, SPEED, read_speed
from swept import PLANS, Line, read_lines
from text_to_image import value_of

from bdm_core.discovery.candidates import find
from bdm_core.errors import BdmError, UserError
from bdm_core.plugin import Defense
from bdm_core.store.store import Store
from bdm_results.view import RunView
from bdm_sweep import Plan, read_plan, sweep
from bdm_sweep.cells import Cell, Preparation, cells_of
from bdm_sweep.sketch import Shelf, Sketch

RESULTS = Path(__file__).parent / "results"
LINES = RESULTS / "classifier_pairs.jsonl"
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
TRAINING = ("poison_data", "inject_backdoor")
"""The stages of an attack."""


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


def is_refused(cell: Cell, work: Path) -> bool:
    """Whether a cell ends with a UserError before anything of the attack: its defense refuses model or data."""
    walker = Sketch(Preparation()(cell.spec), Shelf(Store(work), verify=False))
    try:
        walker.walk()
    except BdmError as error:
        return isinstance(error, UserError) and not any(step.stage in TRAINING for step in walker.steps)
    return False


class Measurement:
    """Writes a line for each pair as it is finished, and how many an hour.

    Args:
        part: name of the plan.
        work: folder of the runs.
        workers: stages at a time.
        timed: how many an hour is written down, too: not of some defenses alone, which may be slow or quick ones.
    """

    def __init__(self, part: str, work: Path, workers: int = 1, *, timed: bool = True) -> None:
        self.part, self.work, self.workers, self.timed = part, work, workers, timed
        self.began = time.monotonic()
        self.clock = Clock()
        self.before = dict(read_speed(SPEED))
        self.counts = {"pairs": 0, "refused": 0, "failed": 0}
        self.left: dict[str, Cell] = {}
        self.shared: Meta | None = None

    def complete(self, name: str, *, new: bool = True) -> None:
        """A pair is finished."""
        cell = self.left.pop(name, None)
        if cell is None:
            return
        line = line_of(self.part, cell, RunView(self.work / name), self.clock)
        if self.shared is not None:
            line["shared"] = {"what": "meta classifier", "seconds": self.shared.seconds}
        self.counts["pairs"] += new
        self._append(line)
        final = line.get("repaired", line.get("purified", line.get("backdoored", {})))
        print(f"{cell.spec.attack} {cell.spec.defense} s{cell.spec.seed}: {final}", flush=True)

    def fail(self, name: str, reason: str) -> None:
        """A pair was refused, or has failed."""
        cell = self.left.pop(name, None)
        if cell is not None:
            status = "refused" if is_refused(cell, self.work) else "failed"
            self.counts[status] += 1
            self._append({**identity(self.part, cell), "status": status, "error": reason})
            print(f"{status.upper()} {cell.spec.attack} {cell.spec.defense} s{cell.spec.seed}: {reason}", flush=True)

    def refuse(self, cells: dict[str, tuple[Cell, str]]) -> None:
        """Pairs of a plan cannot be, as is known without running anything."""
        for cell, reason in cells.values():
            self.counts["refused"] += 1
            self._append({**identity(self.part, cell), "status": "refused", "error": reason})

    def _append(self, line: Line) -> None:
        with LINES.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
        if not self.timed:
            return
        spent = {**self.counts, "seconds": time.monotonic() - self.began}
        old = self.before.get(str(self.workers), {})
        total = {name: round(old.get(name, 0) + value, 1) for name, value in spent.items()}
        SPEED.write_text(json.dumps({**self.before, str(self.workers): total}) + "\n", encoding="utf-8")

    def hear(self, event: dict[str, Any]) -> None:
        """Called with every event of the sweep."""
        self.clock.hear(event)
        if event["event"] == "cell_finished":
            self.complete(event["run"])
        elif event["event"] == "cell_failed":
            self.fail(event["run"], str(event["error"]))

    def sweep(self, plan: Plan, cells: dict[str, Cell], shared: Meta | None = None) -> None:
        """Measure some cells.

        Args:
            plan: what is swept.
            cells: name of a cell of it -> the pair that it measures.
            shared: what the pairs were handed.
        """
        self.left, self.shared = dict(cells), shared
        done = sweep(plan, out=self.work, params={"workers": self.workers}, on_event=self.hear)
        for folder in done.complete:  # those that were complete before
            self.complete(folder.name, new=False)


def measure(part: str, given: argparse.Namespace) -> None:
    """Sweep the pairs of a plan that have no number: seed by seed, some attacks and some defenses at a time."""
    plan = read_plan(PLANS / f"{part}.yaml")
    if given.models:
        plan = plan.model_copy(update={"models": [name for name in plan.models if name in given.models]})
    make_models(plan)
    known = {line["run"] for line in latest(read_lines(LINES)) if status_of(line) != "failed"}
    preparation, measurement = Preparation(), Measurement(part, given.work, given.workers, timed=not given.defenses)
    metas = MetaClassifiers(given.work)
    plan = plan.model_copy(
        update={"defenses": [item for item in plan.defenses if not given.defenses or item.name in given.defenses]}
    )
    wanted = [
        (seed, attack)
        for seed in plan.seeds
        for attack in plan.attacks
        if (not given.seeds or seed in given.seeds) and (not given.attacks or attack.name in given.attacks)
    ]
    with made_ahead(part, given.work, missing(plan, wanted, known, preparation) if given.workers > 1 else []):
        for seed, attacks in grouped(plan, wanted, known, preparation, given.attacks_at_once):
            for start in range(0, len(plan.defenses), given.at_once):
                some = plan.defenses[start : start + given.at_once]
                one = plan.model_copy(update={"attacks": attacks, "defenses": some, "seeds": [seed]})
                found = cells_of(one, preparation)
                cells = {cell.name: cell for cell in found.possible if cell.name not in known}
                measurement.refuse({cell.name: (cell, why) for cell, why in found.impossible if cell.name not in known})
                alone = {name: cell for name, cell in cells.items() if not is_shared(cell)}
                if alone:
                    measurement.sweep(only(one, alone), alone)
                for attack in attacks if len(alone) < len(cells) else []:
                    mine = cells_of(one.model_copy(update={"attacks": [attack]}), preparation).possible
                    left = {cell.name: cell for cell in mine if cell.name in cells and is_shared(cell)}
                    if left:
                        hand_over(only(one.model_copy(update={"attacks": [attack]}), left), measurement, metas)


def hand_over(plan: Plan, measurement: Measurement, metas: MetaClassifiers) -> None:
    """Measure pairs of MNTD, one attack and seed, with the meta classifier that all pairs of a model and seed share."""
    preparation = Preparation()
    model = cells_of(plan, preparation).possible[0].spec.model
    meta = metas.of(plan, str(model), plan.seeds[0])
    swept = given_meta(plan, meta)
    measurement.sweep(swept, planned_by_swept(plan, swept, preparation), meta)


def main() -> None:
    """Measure what is missing and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=list(PARTS), action="append", help="by default all")
    parser.add_argument("--attacks", nargs="+", default=None, help="by default the plan's")
    parser.add_argument("--defenses", nargs="+", default=None, help="by default the plan's")
    parser.add_argument("--models", nargs="+", default=None, help="by default the plan's")
    parser.add_argument("--seeds", type=int, nargs="+", default=None, help="by default the plan's")
    parser.add_argument("--at-once", type=int, default=12, help="so many defenses, in the plan's order, in one sweep")
    parser.add_argument("--attacks-at-once", type=int, default=1, help="so many attacks in one sweep: cores idle less")
    parser.add_argument("--workers", type=int, default=1, help="stages at a time")
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark-classifier-pairs"), help="for the runs")
    parser.add_argument("--page", action="store_true", help="measure nothing, write the page")
    given = parser.parse_args()
    if not given.page:
        for part in given.part or PARTS:
            measure(part, given)
    lines = read_lines(LINES)
    complete = [line for line in latest(lines) if line["status"] == "complete"]
    print(f"written: {write_page(lines)} and {len(write_readmes(complete))} READMEs")


if __name__ == "__main__":
    main()
