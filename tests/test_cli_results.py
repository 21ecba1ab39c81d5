"""``bdm results``: averages, parameters by owner, damaged folders, what a spreadsheet would run."""

import csv
import io
import json
from pathlib import Path

import pytest
from cli_process import bdm, error_line, install_toys
from fake_site import FakeSite

from bdm_cli.output_formats import harmless
from bdm_core import api

RUN = ("run", "--attack", "toyword", "--defense", "toylook", "--out", "runs", "--no-report", "--device", "cpu")


@pytest.fixture
def toys(fake_site: FakeSite) -> FakeSite:
    install_toys(fake_site)
    return fake_site


def test_results_average_over_seeds(toys: FakeSite) -> None:
    for seed in (0, 1):
        assert bdm(toys, *RUN, "--quiet", "--seed", seed).returncode == 0
    assert bdm(toys, *RUN, "--quiet", "--seed", 1, "--scan-clean").returncode == 0  # the same seed again counts once
    rows = list(csv.DictReader(io.StringIO(bdm(toys, "results", "runs", "--format", "csv").stdout)))
    names = ["clean", "clean under trigger", "backdoored", "repaired"]
    assert [(row["row"], row["seeds"]) for row in rows] == [(name, "0 1") for name in names]
    backdoored = rows[2]
    assert float(backdoored["metric:toyhit.asr"]) == 1.0 and float(backdoored["metric:toyhit.asr std"]) == 0.0
    assert backdoored["verdict"] == "backdoored 2/2"
    by_seed = json.loads(bdm(toys, "results", "runs", "--format", "json", "--by-seed").stdout)["rows"]
    assert len(by_seed) == 8 and {tuple(row["seeds"]) for row in by_seed} == {(0,), (1,)}
    table = bdm(toys, "results", "runs").stdout
    assert "2 seeds" in table and "1.000 ±0.000" in table and max(map(len, table.splitlines())) <= 80


def test_results_leave_out_a_run_that_failed(toys: FakeSite, tmp_path: Path) -> None:
    bdm(toys, *RUN, "--quiet", "--name", "one")
    bdm(toys, *RUN, "--quiet", "--name", "two", "--seed", "1")
    path = tmp_path / "runs/two/run.json"
    path.write_text(path.read_text().replace('"complete"', '"failed"'))
    result = bdm(toys, "results", "runs", "--format", "json")
    assert all(row["seeds"] == [0] for row in json.loads(result.stdout)["rows"])
    assert "did not complete: two" in result.stderr


def test_parameters_and_runs_are_columns_by_owner(toys: FakeSite) -> None:
    bdm(toys, *RUN, "--quiet", "--name", "one", "--purify", "toysieve", "--set", "attack:toyword.word==1+2")
    (row, *_) = csv.DictReader(io.StringIO(bdm(toys, "results", "runs", "--format", "csv").stdout))
    assert (row["attack:toyword.poison_rate"], row["defense:toylook.patience"], row["runs"]) == ("0.5", "3", "one")
    assert (row["detect"], row["purify"], row["repair"]) == ("toylook", "toysieve", "toylook")
    assert row["attack:toyword.word"] == "'=1+2"
    (record, *_) = json.loads(bdm(toys, "results", "runs", "--format", "json").stdout)["rows"]
    assert (record["attack:toyword.word"], record["runs"]) == ("=1+2", ["one"])


def test_cells_that_a_spreadsheet_would_run_are_text() -> None:
    for text in ("=1", "+1", "-1", "@x", "\tx", "\x1b[31m"):
        assert str(harmless(text)).startswith("'")
    assert [harmless(cell) for cell in ("a=1", -1.5, None, "", [1])] == ["a=1", -1.5, None, "", "[1]"]
    assert "\x1b" not in harmless("a\x1b[31m")


def test_a_scan_is_a_row_for_each_detector(toys: FakeSite) -> None:
    bdm(toys, "scan", "spoilt", "--out", "runs", "--no-report", "--device", "cpu", "--quiet")
    rows = json.loads(bdm(toys, "results", "runs", "--format", "json").stdout)["rows"]
    assert [(row["detect"], row["verdict"]) for row in rows] == [
        ("toylook", "backdoored"),
        ("toyshrug", "not identifiable"),
    ]
    assert rows[0]["metrics"]["defense:toylook.score"]["mean"] == 1.0


def test_a_scans_row_has_its_own_detectors_parameters_and_its_models_name(toys: FakeSite) -> None:
    options = ("--out", "runs", "--no-report", "--device", "cpu", "--quiet")
    bdm(toys, *RUN, "--quiet", "--name", "one")
    for model in ("honest", "runs/one"):
        bdm(toys, "scan", model, *options)
    rows = [
        row for row in json.loads(bdm(toys, "results", "runs", "--format", "json").stdout)["rows"] if not row["attack"]
    ]
    owners = {row["detect"]: {key.split(".")[0] for key in row if key.startswith("defense:")} for row in rows}
    assert owners == {"toylook": {"defense:toylook"}, "toyshrug": set()}
    table = bdm(toys, "results", "runs", COLUMNS="120").stdout
    assert "scan, detection toylook, model honest, seed 0" in table and "model inject-backdoor/" in table
    assert "not identifiable" not in table and "=none" not in table and " more" not in table


def test_what_is_refused_before_the_first_stage_leaves_no_folder(toys: FakeSite, tmp_path: Path) -> None:
    bdm(toys, *RUN, "--quiet", "--name", "good")
    refused = bdm(toys, *RUN, "--quiet", "--model", "nonsense", "--name", "bad")
    assert refused.returncode == 2 and not (tmp_path / "runs/bad").exists()
    assert bdm(toys, "results", "runs").stderr == ""


def test_flagged_inputs_are_no_verdict(toys: FakeSite) -> None:
    source = """
        from bdm_core import Defense, Detection, hookimpl
        class Counts(Defense):
            name, level = "counts", "input"
            tasks = frozenset({"toy-task"})
            @hookimpl
            def detect(self, model, suspects):
                scores = [1.0] + [0.0] * (suspects.meta["count"] - 1)
                return Detection(level="input", scores=scores, threshold=0.5)
    """
    entries = {"bdm.defenses": {"counts": "counts:Counts"}, "bdm.tasks": {"toy-task": "counts:Counts"}}
    toys.install("bdm-counts", entries, {"counts": source})
    run = ("run", "--attack", "toyword", "--detect", "counts", "--scan-clean", "--out", "runs", "--device", "cpu")
    said = bdm(toys, *run, "--quiet").stdout
    assert "1 of 4 inputs flagged  (counts, input level, threshold 0.500)" in said
    assert "a count of flagged inputs is no verdict on the model" in said
    assert not any(word in said for word in ("BACKDOORED", "FALSE ALARM", "MISSED"))
    assert all(
        not row["verdict"] for row in json.loads(bdm(toys, "results", "runs", "--format", "json").stdout)["rows"]
    )


@pytest.mark.parametrize(
    "record",
    [
        "{}",
        "[]",
        "no json",
        "[" * 100_000,
        '{"schema_version": 1, "status": "complete"}',
        '{"schema_version": 2, "status": "complete", "spec": {}, "plugins": {"a": 1}, "detections": {}, "seed": 0}',
    ],
)
def test_a_foreign_folder_is_left_out_with_a_warning(toys: FakeSite, tmp_path: Path, record: str) -> None:
    bdm(toys, *RUN, "--quiet", "--name", "good")
    odd = tmp_path / "runs/odd"
    odd.mkdir()
    (odd / "run.json").write_text(record)
    (odd / "results.jsonl").write_text("")
    done = bdm(toys, "results", "runs", "--format", "json")
    assert done.returncode == 0 and len(json.loads(done.stdout)["rows"]) == 4
    ((left_out),) = json.loads(done.stdout)["left_out"]
    assert (left_out["run"], left_out["status"]) == ("odd", "damaged") and "odd is damaged: run.json" in left_out[
        "reason"
    ]
    assert done.stderr.startswith("warning: left out: ") and "odd" in done.stderr and len(done.stderr.splitlines()) == 1
    error_line(bdm(toys, "results", "runs/odd"))


def test_damaged_numbers_are_left_out(toys: FakeSite, tmp_path: Path) -> None:
    bdm(toys, *RUN, "--quiet", "--name", "one")
    path = tmp_path / "runs/one/results.jsonl"
    path.write_text(path.read_text() + '{"metric": "m", "row": "clean", "value": "many"}\n{"cut off\n')
    done = bdm(toys, "results", "runs", "--format", "json")
    assert len(json.loads(done.stdout)["rows"]) == 4 and len(done.stderr.splitlines()) == 2


def test_the_rows_of_the_python_interface_are_what_is_averaged(toys: FakeSite, tmp_path: Path) -> None:
    for seed in (0, 1):
        bdm(toys, *RUN, "--quiet", "--seed", seed, "--name", f"s{seed}")
    rows = api.results(tmp_path / "runs")
    hits = [row for row in rows if (row["metric"], row["row"]) == ("metric:toyhit.asr", "backdoored")]
    assert [(row["run"], row["seed"], row["value"], row["verdict"]) for row in hits] == [
        ("s0", 0, 1.0, "backdoored"),
        ("s1", 1, 1.0, "backdoored"),
    ]
    assert {row["attack:toyword.poison_rate"] for row in rows} == {0.5}
