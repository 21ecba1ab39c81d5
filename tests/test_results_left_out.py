"""Runs that cannot be read are said, with the reason; without any that counts there is no answer."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_process import Done, bdm, error_line
from fake_site import FakeSite
from made_runs import make_grid

from bdm_core import api
from bdm_core.errors import UserError
from bdm_results import engines
from bdm_results.earlier import EARLIER
from bdm_results.fingerprints import fingerprints
from bdm_results.results import Results
from bdm_results.rows import left_out_in

pytest.importorskip("duckdb", reason="not installed: pip install 'bdm[results]'")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return make_grid(tmp_path / "runs", {("a", "x"): [0.1, 0.2], ("b", "x"): [0.6]})


@pytest.fixture
def ask(fake_site: FakeSite, runs: Path) -> Callable[..., Done]:
    return lambda *arguments: bdm(fake_site, "results", runs, *arguments)


def damage(runs: Path, name: str = "run.json") -> list[Path]:
    paths = sorted(runs.glob(f"*/{name}"))
    for path in paths:
        path.write_text("{broken", encoding="utf-8")
    return paths


def test_whatever_cannot_be_read_is_said(ask: Callable[..., Done], runs: Path) -> None:
    (runs / "loop").symlink_to("loop")
    (runs / "empty").mkdir()
    (runs / "numbers").mkdir()
    (runs / "numbers" / "results.jsonl").write_text("")
    expected = {"loop": "Too many levels of symbolic links", "numbers": "it has no run.json"}
    for arguments, part in ((["--pivot", "attack,defense"], "tables"), ([], "rows")):
        done = ask(*arguments, "--format", "json")
        found = json.loads(done.stdout)
        assert found[part] and {item["run"] for item in found["left_out"]} == set(expected)
        for item in found["left_out"]:
            assert item["status"] == "damaged" and expected[item["run"]] in item["reason"]
            assert f"warning: left out: {item['reason']}" in done.stderr
        assert "warning: 2 runs are left out, because they cannot be read" in done.stderr
    assert {item["run"] for item in left_out_in(runs)} == set(expected)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_folder_without_permission_is_said(runs: Path) -> None:
    folder = next(runs.glob("*/run.json")).parent
    folder.chmod(0)
    try:
        assert [item["run"] for item in Results(runs).left_out] == [folder.name]
    finally:
        folder.chmod(0o755)


def test_a_folder_whose_record_cannot_be_looked_at(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    look = os.lstat

    def refused(path: str) -> os.stat_result:
        if str(path).endswith("/a-x-0-0/run.json"):
            raise PermissionError(13, "Permission denied")
        return look(path)

    monkeypatch.setattr(os, "lstat", refused)
    states = fingerprints(runs)
    assert len(states) == 3 and states["a-x-0-0"] == "unreadable: [Errno 13] Permission denied"


def test_without_any_run_that_counts_there_is_no_answer(
    ask: Callable[..., Done], runs: Path, fake_site: FakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage(runs)
    for arguments in ([], ["--format", "json"], ["--pivot", "attack,defense"], ["--group-by", "attack"]):
        done = ask(*arguments)
        assert done.returncode == 2 and done.stdout == ""
        assert done.stderr.splitlines()[-1] == f"error: no run in {runs} counts: 3 cannot be read"
        assert "is damaged: run.json: " in done.stderr and "repair or delete it" in done.stderr
    assert bdm(fake_site, "plot", runs).returncode == 2
    monkeypatch.setattr(engines, "installed", lambda *names: False)
    assert ask().stderr.splitlines()[-1] == f"error: no run in {runs} counts: 3 cannot be read"
    with pytest.raises(UserError, match="3 cannot be read"):
        api.results(runs)


def test_a_damaged_file_is_named_with_the_remedy(fake_site: FakeSite, runs: Path) -> None:
    (path, *_) = sorted(runs.glob("*/run.json"))
    (path.parent / "stages.json").write_text("[3")
    message = error_line(bdm(fake_site, "report", path.parent))
    assert f"{path.parent} is damaged: stages.json: " in message and message.endswith("repair or delete it")


def test_names_that_are_no_text(fake_site: FakeSite, runs: Path) -> None:
    odd = runs.rename(runs.parent / os.fsdecode(b"r\xff"))
    next(odd.glob("*/run.json")).parent.rename(odd / os.fsdecode(b"a\xff"))
    for command in (["results"], ["results", "--format", "json"], ["plot", "--metric", "asr"]):
        done = bdm(fake_site, command[0], odd, *command[1:])
        assert (done.returncode, done.stderr) == (0, "")
    done = bdm(fake_site, "results", odd, "--where", os.fsdecode(b"run = 'a\xff'"), "--format", "json")
    assert {run for row in json.loads(done.stdout)["rows"] for run in row["runs"]} == {"a\\xff"}
    file = runs.parent / os.fsdecode(b"o\xff.parquet")
    assert bdm(fake_site, "results", odd, "--output", file).returncode == 0 and file.stat().st_size > 0


def test_what_a_run_left_before_counts_until_it_is_complete_again(runs: Path) -> None:
    before = {row["value"] for row in api.results(runs)}
    folder = next(runs.glob("*/run.json")).parent
    draft = folder.rename(runs.parent / "draft")
    folder.mkdir()
    draft.rename(folder / EARLIER)
    (folder / "results.jsonl").write_text("")
    record = json.loads((folder / EARLIER / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**record, "status": "failed"}))
    found = Results(runs)
    assert set(found.frame()["value"]) == before == {row["value"] for row in api.results(runs)}
    assert f"{folder.name}/{EARLIER}" in set(found.frame()["run"])
    assert [item["run"] for item in found.left_out] == [folder.name]


@pytest.mark.parametrize(("name", "message"), [("x.xlsx", "suffixes are .csv, .json, .parquet"), ("", "is empty")])
def test_a_name_that_says_no_format_is_refused(ask: Callable[..., Done], runs: Path, name: str, message: str) -> None:
    assert message in error_line(ask("--output", name))
    assert not (Path.cwd() / "x.xlsx").exists()
    assert ask("--output", runs.parent / "x.xlsx", "--format", "csv").returncode == 0
