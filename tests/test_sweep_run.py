"""Sweeps with the local executor: each stage once, failures, workers that die, Ctrl-C, kill -9, going on."""

from __future__ import annotations

import json
import os
import signal
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
from fake_site import FakeSite
from sweep_toys import ATTACKS, DEFENSES, OPTIONS, TOY, calls_in, digests, install_dying, record_calls, start_bdm

from bdm_core.run.runner import run
from bdm_results.rows import runs_in
from bdm_sweep import Summary, sweep
from bdm_sweep.cells import Preparation, cells_of
from bdm_sweep.plan import plan_of


@pytest.fixture(autouse=True)
def _toy_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(TOY))


def swept(out: Path, workers: int = 2, **fields: Any) -> Summary:
    plan = {"attacks": ["toy"], "options": OPTIONS, **fields}
    return sweep(plan, out=out, params={"workers": workers})


def test_4_attacks_4_defenses_2_seeds_compute_each_stage_once(
    tmp_path: Path, fake_site: FakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_calls(fake_site)
    monkeypatch.setenv("BDM_TEST_CALLS", str(tmp_path / "calls"))
    done = swept(tmp_path / "runs", attacks=ATTACKS, defenses=DEFENSES, seeds="0-1")
    assert (len(done.complete), done.failed) == (32, {})
    calls = calls_in(tmp_path / "calls")
    assert set(calls.values()) == {1}
    by_stage = {stage: sum(line.endswith(f" {stage}") for line in calls) for stage in ("inject-backdoor", "detect")}
    assert by_stage == {"inject-backdoor": 4 * 2, "detect": 4 * 3 * 2}  # toy-filter does not detect
    views = runs_in(tmp_path / "runs")
    assert {line.split()[0] for line in calls} == {entry["key"] for view in views for entry in view.stages}
    assert done.computed == len(calls)


def test_a_sweep_leaves_what_single_runs_leave(tmp_path: Path) -> None:
    fields = {"attacks": ["toy"], "defenses": ["toy", "toy-filter"], "options": OPTIONS}
    sweep(fields, out=tmp_path / "swept", params={"workers": 1})
    for cell in cells_of(plan_of(fields), Preparation()).possible:
        run(cell.spec, tmp_path / "single", name=cell.name)
    assert digests(tmp_path / "swept") == digests(tmp_path / "single")
    one, other = (
        [view.results for view in sorted(runs_in(tmp_path / name), key=lambda view: view.folder.name)]
        for name in ("swept", "single")
    )
    assert one == other


def test_models_are_scanned_and_plans_run_together(tmp_path: Path) -> None:
    scan = {"scan": True, "models": ["tiny"], "defenses": ["toy"], "options": {**OPTIONS, "task": "toy"}}
    plans = [plan_of(scan), plan_of({"attacks": ["toy"], "defenses": ["toy"], "models": ["tiny"], "options": OPTIONS})]
    done = sweep(plans, out=tmp_path, params={"workers": 1})
    assert (len(done.complete), done.failed) == (2, {})
    verdicts = {view.folder.name.split("_")[1]: view.verdict for view in runs_in(tmp_path)}
    assert verdicts == {"scan": "clean", "toy": "backdoored"}
    labels = [entry["label"] for view in runs_in(tmp_path) for entry in view.stages]
    assert "detection by toy" in labels and labels.count("model") == 2
    assert sweep(plans, out=tmp_path, params={"workers": 1}).computed == 0


def test_a_failed_cell_is_recorded_and_the_rest_goes_on(tmp_path: Path) -> None:
    attacks = [{"name": "toy", "params": {"fail_at": 3}}, "toy"]
    done = swept(tmp_path, attacks=attacks, defenses=["toy", "toy-rows"])
    assert len(done.complete) == 2
    assert set(done.failed.values()) == {
        "attack:toy failed while making 'backdoored model': ValueError: asked to fail in step 3"
    }
    lines = [json.loads(line) for line in (done.folder / "cells.jsonl").read_text().splitlines()]
    assert sorted(line["status"] for line in lines) == ["complete", "complete", "failed", "failed"]
    record = json.loads((done.folder / "sweep.json").read_text())
    assert record["status"] == "failed"
    assert record["cells"] == {"total": 4, "complete": 2, "failed": 2, "impossible": 0}
    again = swept(tmp_path, attacks=attacks, defenses=["toy", "toy-rows"])
    assert (len(again.complete), len(again.failed), again.computed) == (2, 2, 0)


def test_a_defense_that_refuses_takes_no_other_cell_along(tmp_path: Path, fake_site: FakeSite) -> None:
    refusing = """
        from bdm_core import UserError
        from bdm_toy.defense import ToyDefense
        class Choosy(ToyDefense):
            name = "choosy"
            def check_model(self, params, model):
                raise UserError(f"defense:choosy needs another model than {model.format}")
    """
    entries = {"bdm.defenses": {"choosy": "choosy:Choosy"}, "bdm.tasks": {"toy": "choosy:Choosy"}}
    fake_site.install("bdm-defense-choosy", entries, {"choosy": textwrap.dedent(refusing)})
    done = swept(tmp_path, workers=1, defenses=["choosy", "toy"], seeds="0-1")  # the first cell's stages are shared
    assert (len(done.complete), len(done.failed)) == (2, 2)
    assert all(name.split("_")[2] == "choosy" for name in done.failed)
    assert all(reason.startswith("defense:choosy needs another model") for reason in done.failed.values())
    again = swept(tmp_path, workers=1, defenses=["choosy", "toy"], seeds="0-1")
    assert (len(again.complete), len(again.failed), again.computed) == (2, 2, 0)


def test_a_worker_that_dies_is_replaced(tmp_path: Path, fake_site: FakeSite) -> None:
    install_dying(fake_site)
    done = swept(tmp_path, workers=1, attacks=["dying", "leaving", "toy"], defenses=["toy"])
    assert len(done.complete) == 1
    reasons = {name.split("_")[1]: reason for name, reason in done.failed.items()}
    assert reasons["dying"].startswith("the worker died in attack:dying inject-backdoor (killed by SIGKILL): see ")
    assert "attack:leaving failed while making 'backdoored model'" in reasons["leaving"]  # os._exit is refused


def test_the_same_sweep_again_computes_nothing(tmp_path: Path) -> None:
    first = swept(tmp_path, defenses=["toy"])
    again = swept(tmp_path, defenses=["toy"])
    assert first.computed > 0
    assert (again.computed, again.complete, again.folder) == (0, first.complete, first.folder)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert start_bdm(folder, *COMMAND).wait(60) == 0
    return digests(folder / "runs")


COMMAND = [
    *("sweep", "--attack", "toy", "--defense", "toy,toy-rows", "--device", "cpu", "--seeds", "0-1", "--workers", "2"),
    *("--data-share", "0.5", "--quiet", "--set", "attack:toy.steps=30", "--set", "attack:toy.pause=0.03"),
]


def _wait_for_checkpoint(folder: Path) -> None:
    deadline = time.monotonic() + 60
    while not list(folder.glob("runs/store/.work/*/work/checkpoint.json")) and time.monotonic() < deadline:
        time.sleep(0.01)


def _workers_of(process: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == process and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_ctrl_c_stops_cleanly_and_the_same_command_continues(tmp_path: Path, undisturbed: dict[str, Any]) -> None:
    process = start_bdm(tmp_path, *COMMAND)
    _wait_for_checkpoint(tmp_path)
    workers = _workers_of(process.pid)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said.splitlines()[-1].startswith("interrupted: finished stages are kept; the same command continues")
    assert workers and not any(Path(f"/proc/{pid}").exists() for pid in workers)
    (record,) = tmp_path.glob("runs/sweeps/*/sweep.json")
    assert json.loads(record.read_text())["status"] == "interrupted"
    assert start_bdm(tmp_path, *COMMAND).wait(60) == 0
    assert digests(tmp_path / "runs") == undisturbed
    assert json.loads(record.read_text())["status"] == "complete"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_killed_sweeps_and_workers_continue_with_the_same_digests(tmp_path: Path, undisturbed: dict[str, Any]) -> None:
    process = start_bdm(tmp_path, *COMMAND)
    _wait_for_checkpoint(tmp_path)
    workers = _workers_of(process.pid)
    process.kill()
    process.communicate()
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    assert start_bdm(tmp_path, *COMMAND).wait(60) == 0
    assert digests(tmp_path / "runs") == undisturbed
