"""A sweep's folder belongs to one plan and one process; outcomes of tasks are records, never exceptions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sweep_toys import OPTIONS, TOY

from bdm_core.errors import StoreError, UserError
from bdm_sweep import sweep
from bdm_sweep.record import CELLS, EVENTS, SWEEP_RECORD, SweepFolder
from bdm_sweep.work import perform

PLAN = {"attacks": ["toy"], "options": {**OPTIONS, "params": {"kit:toy": {"samples": 4}}}}


@pytest.fixture(autouse=True)
def _toy_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(TOY))


def test_a_folder_is_held_by_one_process(tmp_path: Path) -> None:
    with (
        SweepFolder(tmp_path / "mine", {"a": 1}),
        pytest.raises(StoreError, match=r"mine: this sweep is run by process \d+ on "),
    ):
        SweepFolder(tmp_path / "mine", {"a": 1})


def test_a_folder_holds_one_plan(tmp_path: Path) -> None:
    sweep(PLAN, out=tmp_path, name="mine", params={"workers": 1})
    with pytest.raises(UserError, match=r"holds another plan: choose another --name"):
        sweep({**PLAN, "seeds": [1]}, out=tmp_path, name="mine", params={"workers": 1})
    again = sweep(PLAN, out=tmp_path, name="mine", params={"workers": 1})
    assert again.computed == 0
    folder = tmp_path / "sweeps/mine"
    record = json.loads((folder / SWEEP_RECORD).read_text())
    assert (record["status"], record["executor"], record["plan"]["seeds"]) == ("complete", "local", [0])
    events = [json.loads(line)["event"] for line in (folder / EVENTS).read_text().splitlines()]
    assert events.count("sweep_started") == events.count("sweep_finished") == 2
    (cell,) = [json.loads(line) for line in (folder / CELLS).read_text().splitlines()]
    assert (cell["status"], cell["attack"], cell["params"]) == ("complete", "toy", {"kit:toy": {"samples": 4}})
    assert (tmp_path / cell["run"] / "run.json").is_file()


def test_whatever_is_wrong_with_a_task_is_its_outcome(tmp_path: Path) -> None:
    task = {"out": str(tmp_path), "label": "model", "name": "x", "command": "", "spec": {"attack": "nobody"}}
    assert perform(task)["error"].startswith("no attack 'nobody' is installed")
    (tmp_path / "file").write_text("")
    outcome = perform({**task, "out": str(tmp_path / "file")})
    assert outcome["status"] == "failed" and "cannot use the store" in outcome["error"]
    good = {**task, "spec": {"attack": "toy", "device": "cpu"}}
    outcome = perform({**good, "label": "no such stage"})
    assert (outcome["status"], outcome["computed"]) == ("unneeded", [])


def test_a_stage_is_computed_with_what_it_needs(tmp_path: Path) -> None:
    """An executor may be told of a stage whose parents have gone meanwhile."""
    spec = {"attack": "toy", "defense": "toy", "device": "cpu"}
    task = {"out": str(tmp_path), "label": "repaired model", "name": "x", "command": "", "spec": spec}
    found = perform(task)
    keys = [key for key, _ in found["computed"]]
    assert found["status"] == "done" and found["key"] == keys[-1] and len(keys) == len(set(keys)) == 8
    assert found["processor"] > 0
    assert perform(task)["computed"] == []
