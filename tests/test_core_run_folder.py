"""Run folders and leases when something goes wrong: given back, read again, taken over."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from bdm_core.errors import StoreError
from bdm_core.run.record import RunFolder
from bdm_core.run.runner import run
from bdm_core.run.specification import RunSpec
from bdm_results.rows import runs_in
from bdm_results.view import RunView

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
