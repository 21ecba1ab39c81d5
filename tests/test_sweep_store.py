"""What runs reach of a store; pruning takes the rest and nothing that somebody uses, also while others work."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from cli_process import bdm, error_line, install_toys
from fake_site import FakeSite
from sweep_toys import TOY

from bdm_core.errors import UserError
from bdm_core.run.runner import run
from bdm_core.run.specification import RunSpec
from bdm_core.store.store import Store
from bdm_results.view import RunView
from bdm_sweep import keeping
from bdm_sweep.record import EVENTS, REACHED, SWEEP_RECORD, SWEEPS

CELL = RunSpec(attack="toy", defense="toy", device="cpu", data_share=0.5)


@pytest.fixture(autouse=True)
def _toy_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(TOY))


@pytest.fixture
def two_runs(tmp_path: Path) -> tuple[RunView, RunView]:
    return run(CELL, tmp_path, name="one"), run(CELL.model_copy(update={"seed": 1}), tmp_path, name="two")


def keys(view: RunView) -> set[str]:
    return {entry["key"] for entry in view.stages}


def stored(out: Path) -> set[str]:
    return {stage.key for stage in keeping.usage(out).stages}


def test_what_runs_name_is_reached(tmp_path: Path, two_runs: tuple[RunView, RunView]) -> None:
    one, two = two_runs
    found = keeping.usage(tmp_path)
    assert {stage.key for stage in found.of(reached=True)} == keys(one) | keys(two)
    assert found.of(reached=False) == [] and keeping.prune(found, tmp_path, older_than=0) == []
    size = sum(path.stat().st_size for path in (tmp_path / "store").rglob("*") if path.is_file())
    assert keeping.total_size(found.stages) + found.unfinished == size
    shutil.rmtree(two.folder)
    found = keeping.usage(tmp_path)
    assert {stage.key for stage in found.of(reached=False)} == keys(two) - keys(one)


def test_prune_removes_the_rest_with_its_secrets(tmp_path: Path, two_runs: tuple[RunView, RunView]) -> None:
    one, two = two_runs
    shutil.rmtree(two.folder)
    removed = keeping.prune(keeping.usage(tmp_path), tmp_path, older_than=0)
    assert {stage.key for stage in removed} == keys(two) - keys(one)
    assert stored(tmp_path) == keys(one)
    assert len(list((tmp_path / "store/secrets").glob("*/*/secret"))) == 1
    assert list((tmp_path / "store/.work").iterdir()) == []
    assert RunView(one.folder).result_of("backdoored model") is not None
    again = run(CELL.model_copy(update={"seed": 1}), tmp_path, name="again")
    assert keys(again) == keys(two)


def test_what_was_used_lately_stays(tmp_path: Path, two_runs: tuple[RunView, RunView]) -> None:
    one, two = two_runs
    shutil.rmtree(two.folder)
    found = keeping.usage(tmp_path)
    assert keeping.prune(found, tmp_path) == []
    for stage in found.of(reached=False):
        os.utime(stage.record, (0, 0))
    (kept,) = [stage for stage in found.of(reached=False) if stage.name == "repair"]
    assert Store(tmp_path).read("repair", kept.key) is not None  # reading is using
    assert {stage.key for stage in keeping.prune(found, tmp_path)} == keys(two) - keys(one) - {kept.key}


def test_a_stage_that_is_found_while_it_is_moved_away_comes_back(
    tmp_path: Path, two_runs: tuple[RunView, RunView], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = two_runs
    shutil.rmtree(two.folder)
    rename = Path.rename

    def touched_first(self: Path, target: Path) -> Path:
        if "pruned-" in str(target):
            os.utime(self / "stage.json", (2, 2))
        return rename(self, target)

    found = keeping.usage(tmp_path)
    monkeypatch.setattr(Path, "rename", touched_first)
    assert keeping.prune(found, tmp_path, older_than=0) == []
    assert stored(tmp_path) == keys(one) | keys(two)


def test_a_stage_that_is_being_made_stays(tmp_path: Path, two_runs: tuple[RunView, RunView]) -> None:
    shutil.rmtree(two_runs[1].folder)
    found = keeping.usage(tmp_path)
    held = found.of(reached=False)[0]
    with Store(tmp_path).lease(held.key) as lease:
        assert lease.acquire()
        assert held.key not in {stage.key for stage in keeping.prune(found, tmp_path, older_than=0)}


@pytest.mark.parametrize(("status", "reached"), [("running", True), ("interrupted", True), ("complete", False)])
def test_an_open_sweep_reaches_its_stages(
    tmp_path: Path, two_runs: tuple[RunView, RunView], status: str, reached: bool
) -> None:
    one, two = two_runs
    folder = tmp_path / SWEEPS / "mine"
    folder.mkdir(parents=True)
    first, *rest = sorted(keys(two))
    (folder / SWEEP_RECORD).write_text(json.dumps({"status": status}))
    (folder / REACHED).write_text(json.dumps([first]))
    (folder / EVENTS).write_text("".join(json.dumps({"computed": [[key, 0.1]]}) + "\n" for key in rest) + "{half")
    shutil.rmtree(two.folder)
    found = {stage.key for stage in keeping.usage(tmp_path).of(reached=True)}
    assert found == (keys(one) | keys(two) if reached else keys(one))


def test_pruning_again_and_again_disturbs_no_run(tmp_path: Path) -> None:
    """Runs come and go while another process prunes everything that nothing reaches, with a second of grace."""
    script = """
import sys
from pathlib import Path
from bdm_core.errors import UserError
from bdm_sweep import keeping
out, total = Path(sys.argv[1]), 0
while not (out / "stop").exists():
    try:
        total += len(keeping.prune(keeping.usage(out), out, older_than=1.0)) if (out / "store").exists() else 0
    except UserError as error:  # a run that is being deleted: then nothing is pruned
        assert str(error).startswith("nothing is pruned"), error
print(total)
"""
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    reference: dict[int, dict[str, list[str]]] = {}
    try:
        for number in range(6):
            seed = number % 3
            view = run(CELL.model_copy(update={"seed": seed}), tmp_path, name=f"run{number}")
            digests = {entry["label"]: entry["digests"] for entry in view.stages}
            assert digests == reference.setdefault(seed, digests)
            if number > 1:
                shutil.rmtree(tmp_path / f"run{number - 2}")
        deadline = time.monotonic() + 60
        while len(stored(tmp_path)) > len(keys(view)) * 2 and time.monotonic() < deadline:
            time.sleep(0.1)
    finally:
        (tmp_path / "stop").touch()
    text, _ = process.communicate(timeout=60)
    assert int(text) > 0
    assert {stage.key for stage in keeping.usage(tmp_path).of(reached=True)} == stored(tmp_path)


def test_another_process_sees_a_stage_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that shows a new folder only after a while costs a computation, never a wrong result."""
    first = run(CELL, tmp_path, name="first")
    read, hidden = Store.read, set(keys(first))

    def late(self: Store, stage: str, key: str) -> object:
        if key in hidden and threading.current_thread() is threading.main_thread():
            hidden.discard(key)
            return None
        return read(self, stage, key)

    monkeypatch.setattr(Store, "read", late)
    second = run(CELL, tmp_path, name="second")
    assert [entry["digests"] for entry in second.stages] == [entry["digests"] for entry in first.stages]


def test_the_command_prints_and_prunes(fake_site: FakeSite) -> None:
    install_toys(fake_site)
    folder = fake_site.root.parent
    options = ("--attack", "toyword", "--device", "cpu", "--no-report", "--quiet")
    assert bdm(fake_site, "run", *options, "--name", "one").returncode == 0
    assert bdm(fake_site, "run", *options, "--name", "two", "--seed", "1").returncode == 0
    shutil.rmtree(folder / "runs/two")
    before = json.loads(bdm(fake_site, "store", "--json").stdout)
    assert before["pruned"] == {"stages": 0, "bytes": 0}
    assert before["unreached"]["stages"] > 0
    text = bdm(fake_site, "store", "--prune", "--older-than", "0").stdout
    assert f"removed     {before['unreached']['stages']} stages" in text
    after = json.loads(bdm(fake_site, "store", "runs", "--json").stdout)
    assert after["unreached"]["stages"] == 0 and after["stages"] == before["reached"]["stages"]
    assert "no store in elsewhere" in error_line(bdm(fake_site, "store", "elsewhere"))
    assert "--older-than -1.0" in error_line(bdm(fake_site, "store", "--older-than", "-1"))


@pytest.mark.parametrize("content", ["[1", "{}", None])
def test_nothing_is_pruned_while_a_run_cannot_be_read(
    tmp_path: Path, two_runs: tuple[RunView, RunView], content: str | None
) -> None:
    file = two_runs[0].folder / "stages.json"
    if content is None:
        file.unlink()
        file.mkdir()
    else:
        file.write_text(content)
    found = keeping.usage(tmp_path)
    assert found.unreadable == [file]
    with pytest.raises(UserError, match=r"nothing is pruned: .*stages.json cannot be read"):
        keeping.prune(found, tmp_path, older_than=0)
    assert len(keeping.usage(tmp_path).stages) == len(found.stages)
