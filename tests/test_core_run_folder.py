"""Run folders and leases when something goes wrong: given back, read again, taken over."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from bdm_core.artifacts import Model
from bdm_core.errors import PluginError, StoreError, UserError
from bdm_core.run.job import Job
from bdm_core.run.record import RunFolder
from bdm_core.run.runner import run
from bdm_core.run.specification import RunSpec
from bdm_results.rows import runs_in
from bdm_results.view import RunView
from bdm_sweep.keeping import reached_keys
from bdm_sweep.plan import plan_of
from bdm_sweep.survey import survey
from bdm_sweep.work import perform

CELL = RunSpec(attack="toy", detect="toy", repair="toy", device="cpu", data_share=0.5)


@pytest.fixture(autouse=True)
def _toy_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "toy"))


def _digests(view: RunView) -> dict[str, list[str]]:
    return {entry["label"]: entry["digests"] for entry in view.stages}


def test_a_lease_that_cannot_be_made_is_one_line_and_the_run_folder_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = os.open

    def refusing(path: str, *arguments: int) -> int:
        if str(path).endswith(".lease") and ".work" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return plain(path, *arguments)

    monkeypatch.setattr(os, "open", refusing)
    with pytest.raises(StoreError, match=r"cannot use the store at .*\.lease: Permission denied"):
        run(CELL, tmp_path, name="mine")
    assert not (tmp_path / "mine" / ".lease").exists()


@pytest.mark.parametrize("method", ["write_record", "event", "stage"])
def test_a_run_folder_is_given_back_whatever_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    def fail(*arguments: object, **facts: object) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(RunFolder, method, fail)
    with pytest.raises(StoreError, match="full"):
        run(CELL, tmp_path, name="mine")
    assert not (tmp_path / "mine" / ".lease").exists()


def test_a_torn_line_and_hidden_folders_do_not_stop_the_results(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    view = run(CELL, tmp_path, name="mine")
    shutil.copytree(view.folder, tmp_path / ".rank1-0123")
    with (view.folder / "results.jsonl").open("a") as stream:
        stream.write('{"run": "mi')
    (again,) = runs_in(tmp_path)
    assert again.results == view.results
    assert f"{view.folder / 'results.jsonl'}: line {len(view.results) + 1} is damaged" in caplog.text


def test_a_stage_whose_lease_was_lost_uses_the_result_of_the_other_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from bdm_toy.attack import ToyAttack

    plain, paused = ToyAttack._step, []

    def pause(*arguments: Any) -> float:
        if not paused:  # within the stage another process takes the lease over, works and publishes
            paused.append(1)
            (lease,) = (tmp_path / "out" / "store" / ".work").glob("*.lease")
            lease.unlink()
            run(CELL, tmp_path / "out", name="other")
        return plain(*arguments)

    monkeypatch.setattr(ToyAttack, "_step", staticmethod(pause))
    mine = run(CELL, tmp_path / "out", name="mine")
    assert "another one took over" in caplog.text
    assert _digests(mine) == _digests(RunView(tmp_path / "out" / "other"))
    assert mine.stage("backdoored model")["cached"]  # type: ignore[index]


def test_what_a_killed_process_left_of_a_published_stage_is_removed(tmp_path: Path) -> None:
    view = run(CELL, tmp_path)
    key = view.stage("backdoored model")["key"]  # type: ignore[index]
    work = tmp_path / "store" / ".work"
    for name in (key, f"{key}.rank1"):
        (work / name / "work").mkdir(parents=True)
        (work / name / "work" / "checkpoint.json").write_text(json.dumps([]))
    assert run(CELL, tmp_path).stage("backdoored model")["cached"]  # type: ignore[index]
    assert list(work.iterdir()) == []


def test_nothing_is_lost_where_a_run_is_begun_again_without_its_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = run(CELL, tmp_path, name="mine")
    shutil.rmtree(tmp_path / "store")

    def stopped(*arguments: object) -> None:
        raise KeyboardInterrupt

    for _ in range(2):  # the second attempt finds an unfinished run
        with monkeypatch.context() as patch:
            patch.setattr(Job, "call", stopped)
            with pytest.raises(KeyboardInterrupt):
                run(CELL, tmp_path, name="mine")
        kept = {view.name: view for view in runs_in(tmp_path)}
        assert kept["mine"].record["status"] == "failed" and kept["mine"].results == []
        assert kept["mine/earlier"].results == before.results and kept["mine/earlier"].stages == before.stages
        assert set(reached_keys(tmp_path, [])) >= {entry["key"] for entry in before.stages}
    after = run(CELL, tmp_path, name="mine")
    assert after.results == before.results and _digests(after) == _digests(before)
    assert [view.name for view in runs_in(tmp_path)] == ["mine"]


def test_a_defense_refuses_before_anything_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bdm_toy.defense import ToyDefense

    def check(self: object, params: object, clean_rows: int) -> None:
        if clean_rows < 20:
            raise UserError(f"defense:toy needs 20 clean rows, and the defender has {clean_rows}")

    monkeypatch.setattr(ToyDefense, "check", check)
    with pytest.raises(UserError, match="needs 20 clean rows, and the defender has 16"):
        run(CELL, tmp_path / "runs", name="mine")
    assert not list((tmp_path / "runs" / "store").glob("inject-backdoor/*"))
    assert not (tmp_path / "runs" / "mine" / "results.jsonl").read_text()
    plan = {"attacks": ["toy"], "defenses": ["toy"], "options": {"device": "cpu", "data_share": 0.5}}
    assert survey(plan_of(plan), tmp_path / "more").stages["inject-backdoor"] == 1, "assumed data refuse nothing"
    task = {"number": 0, "out": str(tmp_path / "more"), "spec": CELL.model_dump(), "name": "one", "command": ""}
    outcome = perform({**task, "label": "backdoored model"})
    assert outcome["status"] == "refused" and "needs 20 clean rows" in outcome["error"]
    assert not list((tmp_path / "more" / "store").glob("inject-backdoor/*"))


def test_a_metric_refuses_before_anything_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bdm_toy.metric import ToyMetric

    def check_model(self: object, params: object, model: Model) -> None:
        raise UserError(f"metric:toy needs a key for {model.task}")

    monkeypatch.setattr(ToyMetric, "check_model", check_model)
    with pytest.raises(UserError, match="metric:toy needs a key for toy"):
        run(CELL, tmp_path / "runs", name="mine")
    assert not list((tmp_path / "runs" / "store").glob("inject-backdoor/*"))
    assert not list((tmp_path / "runs" / "store").glob("generate/*"))
    monkeypatch.setattr(ToyMetric, "check_model", lambda self, params, model: 1 / 0)
    with pytest.raises(PluginError, match="metric:toy failed to check what it is given: ZeroDivisionError"):
        run(CELL, tmp_path / "runs", name="mine")
