"""``bdm sweep`` on the command line: the dry run, events as JSON lines, exit codes, what a narrow terminal shows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_process import bdm, error_line
from fake_site import FakeSite
from sweep_toys import TOY, start_bdm

COMMAND = ("sweep", "--attack", "toy", "--device", "cpu", "--set", "kit:toy.samples=4")


@pytest.fixture(autouse=True)
def _toy_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(TOY))


def test_from_the_dry_run_to_the_end(fake_site: FakeSite) -> None:
    options = (*COMMAND, "--defense", "toy,toy-rows,elijah", "--workers", "1")
    dry = json.loads(bdm(fake_site, *options, "--dry-run", "--json").stdout)
    assert (dry["cells"], dry["complete"], dry["with_recorded_times"]) == (2, 0, 0)
    assert dry["to_compute"] == sum(item["distinct"] for item in dry["stages"])
    ((pair, reason),) = [((item["attack"], item["defense"]), item["reason"]) for item in dry["impossible"]]
    assert pair == ("toy", "elijah") and reason.startswith("no common task")
    assert dry["least_seconds"] <= dry["expected_seconds"] <= dry["work_seconds"]
    assert not (fake_site.root.parent / "runs").exists()
    text = bdm(fake_site, *options, "--dry-run").stdout
    assert "no estimate: nothing recorded yet" in text and "expected  " not in text

    done = bdm(fake_site, *options, "--json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.returncode, done.stderr) == (0, "")
    assert events[0]["event"] == "sweep_started" and events[-1]["event"] == "sweep_finished"
    assert (events[0]["cells"], events[0]["impossible"], events[0]["stages"]) == (2, 1, dry["to_compute"])
    assert sum(event["event"] == "cell_finished" for event in events) == 2
    assert events[-1]["status"] == "complete" and events[-1]["work_left"] == 0

    for columns in ("60", "100"):
        text = bdm(fake_site, *options, "--dry-run", COLUMNS=columns).stdout
        assert max(map(len, text.splitlines())) <= int(columns)
        assert "cells     2, 2 complete" in text and "stages    0 to compute" in text
    table = bdm(fake_site, "results", "runs", "--format", "csv").stdout
    assert len(table.splitlines()) > 2


def test_a_failed_cell_ends_with_1(fake_site: FakeSite) -> None:
    done = bdm(fake_site, *COMMAND, "--set", "attack:toy.fail_at=2", "--workers", "1", "--quiet")
    assert done.returncode == 1
    assert "failed   1 cell: attack:toy failed while making 'backdoored model'" in " ".join(done.stdout.split("\n"))
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: 1 of the sweep's cells failed: see runs/sweeps/")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--executor", "lokal"], "no executor 'lokal' is installed; did you mean 'local'?"),
        (["--workers", "-1"], "executor:local.workers: Input should be greater than or equal to 0"),
        (["--set", "executor:local.worker=1"], "executor:local has no parameter 'worker'; did you mean 'workers'?"),
        (["--set", "executor:ray.retries=1"], "the executor is local"),
        (["--seeds", "x"], "write seeds as whole numbers and ranges"),
        (["--name", "../up"], "--name '../up': use at most 200"),
        (["--name", ""], "--name '': use at most 200"),
        (["--name", "a\nb", "--dry-run"], r"--name 'a\nb': use at most 200"),
        (["--name", "-x", "--dry-run"], "--name '-x': use at most 200"),
        (["--name", "é" * 120, "--dry-run"], "use at most 200"),
        (["--name", "a/b", "--dry-run"], "--name 'a/b': use at most 200"),
        (["--defense", "toy,,toy-rows"], "--defense 'toy,,toy-rows': a name between the commas is empty"),
        (["--defense", ""], "--defense is empty"),
        (["--out", ""], "--out is empty: name a file or folder"),
        (["--set", "defense:toy.limit=3"], "no cell of the plan has defense:toy"),
        (["--print-config", "--dry-run"], "--print-config and --dry-run: choose one of them"),
        (["nowhere.yaml"], "cannot read nowhere.yaml"),
    ],
)
def test_wrong_options_are_one_line(fake_site: FakeSite, options: list[str], message: str) -> None:
    assert message in error_line(bdm(fake_site, *COMMAND, *options))
    assert not list(Path(fake_site.root.parent).glob("runs/*/*/*.json"))


def test_nobody_reads_the_events_any_more(tmp_path: Path) -> None:
    process = start_bdm(tmp_path, *COMMAND, "--workers", "1", "--set", "attack:toy.pause=0.05", "--json")
    assert process.stdout is not None and process.stderr is not None
    assert json.loads(process.stdout.readline())["event"] == "sweep_started"
    process.stdout.close()
    assert process.stderr.read().startswith("interrupted: finished stages are kept")
    assert process.wait(30) == 141
    (record,) = tmp_path.glob("runs/sweeps/*/sweep.json")
    assert (json.loads(record.read_text())["status"], json.loads(record.read_text())["error"]) == ("interrupted",) * 2
    assert start_bdm(tmp_path, *COMMAND, "--workers", "1", "--set", "attack:toy.pause=0.05", "--quiet").wait(60) == 0


def test_a_launch_of_several_processes_is_refused(fake_site: FakeSite) -> None:
    done = bdm(fake_site, *COMMAND, RANK="0", WORLD_SIZE="2")
    assert "a sweep starts its processes itself" in error_line(done)
