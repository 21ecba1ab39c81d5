"""Walking through cells without computing: the same stages as a real run, and an assumed answer for every hook."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sweep_toys import OPTIONS, TOY

from bdm_core.artifacts import Data, Model, artifacts_in
from bdm_core.discovery.candidates import scoped
from bdm_core.hooks import HOOKS, _check, annotations_of
from bdm_core.run.job import Job
from bdm_core.run.runner import run
from bdm_core.store.store import Store
from bdm_sweep.cells import Cell, Preparation, cells_of
from bdm_sweep.plan import plan_of
from bdm_sweep.sketch import Shelf, Step, assumed, is_complete, sketch
from bdm_sweep.survey import survey

NO_STAGES = {"illustrate"} | {"run_started", "run_finished", "stage_started", "stage_progress", "stage_finished"}
DEFENSES = ["toy", "toy-rows", "toy-filter", "toy-black-box", "toy-trainer"]


@pytest.fixture(autouse=True)
def _toy_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(TOY))


def cell_of(defense: str, **options: Any) -> Cell:
    plan = {"attacks": ["toy"], "defenses": [defense], "options": {**OPTIONS, **options}}
    return cells_of(plan_of(plan), Preparation()).possible[0]


def steps_of(cell: Cell, out: Path) -> list[Step]:
    store = Store(out)
    store.prepare()
    return sketch(Preparation()(cell.spec), Shelf(store, verify=False))


@pytest.mark.parametrize("defense", DEFENSES)
def test_an_empty_store_gives_the_stages_of_a_real_run(tmp_path: Path, defense: str) -> None:
    """But for the selection of inputs that pass a filter, which only its answer can tell."""
    cell = cell_of(defense)
    steps = steps_of(cell, tmp_path)
    labels = [entry["label"] for entry in run(cell.spec, tmp_path).stages]
    assert [step.label for step in steps] == [label for label in labels if not label.endswith("that pass")]
    assert not any(step.stored for step in steps) and len({step.key for step in steps}) == len(steps)


@pytest.mark.parametrize("defense", DEFENSES)
def test_a_full_store_gives_its_keys(tmp_path: Path, defense: str) -> None:
    cell = cell_of(defense)
    view = run(cell.spec, tmp_path)
    steps = steps_of(cell, tmp_path)
    assert is_complete(steps) and [step.key for step in steps] == [entry["key"] for entry in view.stages]


def test_parents_come_first_and_are_those_whose_results_are_taken(tmp_path: Path) -> None:
    steps = steps_of(cell_of("toy"), tmp_path)
    labels = {step.key: step.label for step in steps}
    parents = {step.label: {labels[key] for key in step.parents} for step in steps}
    assert parents["model"] == set()
    assert parents["data"] == {"model"}
    assert parents["backdoored model"] == {"model", "poisoned data"}
    assert parents["detection"] == {"backdoored model", "defender's data", "inputs"}
    assert parents["repaired model"] == {"backdoored model", "defender's data", "detection"}
    seen: set[str] = set()
    for step in steps:
        assert set(step.parents) <= seen
        seen.add(step.key)


def test_what_is_stored_is_no_parent_any_more(tmp_path: Path) -> None:
    run(cell_of("toy").spec, tmp_path)
    steps = {step.label: step for step in steps_of(cell_of("toy-black-box"), tmp_path)}
    assert steps["backdoored model"].stored and not steps["detection"].stored
    labels = {step.key: step.label for step in steps.values()}
    assert [labels[key] for key in steps["detection"].parents] == ["suspects"]


def test_attacks_and_defenses_share_stages(tmp_path: Path) -> None:
    attacks = [{"name": "toy", "params": {"shift": 8.0 + number}} for number in range(3)]
    plan = {"attacks": attacks, "defenses": ["toy", "toy-rows"], "options": OPTIONS}
    found = survey(plan_of(plan), tmp_path)
    assert {name: found.stages[name] for name in ("open-model", "poison-data", "inject-backdoor", "detect")} == {
        "open-model": 1,
        "poison-data": 3,
        "inject-backdoor": 3,
        "detect": 6,
    }
    assert len(found.graph.tasks) == found.stages.total() + 6
    for task in found.graph.tasks:
        assert all(parent < task.number for parent in task.parents)


@pytest.mark.parametrize("hook", sorted(set(HOOKS) - NO_STAGES))
def test_every_hook_has_an_assumed_answer(hook: str) -> None:
    plugin = Preparation()(cell_of("toy").spec).detector
    assert plugin is not None
    data = Data(kind="data", format="f", task="toy", path=Path("/nowhere"), meta={"count": 3})
    inputs = {"inputs": data, "suspects": data, "rows": [0, 1]}
    job = Job(hook, [plugin], inputs, hook, None, None, {"stage": hook})
    answer, other = (assumed(Job(**{**vars(job), "payload": {"stage": number}}), "toy") for number in (1, 2))
    _check(scoped(), hook, answer, annotations_of(hook)["return"])
    assert {item.digest for item in artifacts_in(answer)}.isdisjoint(item.digest for item in artifacts_in(other))
    assert not isinstance(answer, Model) or answer.digest != other.digest
